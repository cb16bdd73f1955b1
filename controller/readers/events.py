"""EventBus and EventSource -> neutral model: OpenFunction's wire format with every default filled; pure."""

from __future__ import annotations

import msgspec

from api import schedules, support
from api.actions import Resource
from api.consistency.events import SOURCE_KINDS
from api.kinds.buses import EventBusSpec
from api.kinds.sources import CronSource, EventSourceSpec, KafkaSource
from api.meta import Key
from api.model import Bus, Option, Source, Subscription
from controller.readers import names, sinks, streaming
from controller.readers.model import Scope, SourceModel, apart
from controller.readers.options import read_options
from controller.readers.sinks import Receiver


def read_bus(resource: Resource) -> Bus:
    """A bus without a broker, or with NATS Streaming, is the platform's own: kind nats without an address."""
    spec: EventBusSpec = resource.spec
    if spec.kafka is not None:
        return Bus(key=resource.key, kind="kafka", options=read_options(spec.kafka))
    if spec.mqtt is not None:
        return Bus(key=resource.key, kind="mqtt", options=read_options(spec.mqtt))
    if spec.nats_streaming is not None:
        return Bus(key=resource.key, kind="nats", options=streaming.read_options(spec.nats_streaming))
    options = read_options(spec.nats) if spec.nats is not None else {}
    return Bus(key=resource.key, kind="nats", options=options)


def read_source(resource: Resource, scope: Scope) -> SourceModel:
    """Each event becomes a Source; a sink becomes a subscription per event."""
    spec: EventSourceSpec = resource.spec
    notes = support.notes("EventSource", spec, scope.capabilities)
    problems = list(sinks.problems(spec.sink, "spec.sink", scope))
    receiver = sinks.receiver(spec.sink, resource.key.namespace) if spec.sink and not problems else None
    sources, subscriptions, functions = [], [], {}
    for kind in SOURCE_KINDS:
        for event, settings in sorted(getattr(spec, kind).items()):
            source = Source(
                key=Key(resource.key.namespace, f"{resource.key.name}.{event}"),
                kind=kind,  # type: ignore[arg-type] # SOURCE_KINDS are the literals of Source.kind
                options=_options(kind, settings),
                bus=Key(resource.key.namespace, spec.event_bus),
                subject=names.event_subject(resource.key.namespace, resource.key.name, event),
            )
            sources.append(source)
            if receiver is not None:
                subscription = _sunk(resource.key, event, receiver, source)
                subscriptions.append(subscription)
                if receiver.function is not None:
                    functions[subscription.key] = receiver.function
    return SourceModel(
        sources=tuple(sources),
        subscriptions=tuple(subscriptions),
        functions=functions,
        inherit=frozenset(functions),
        notes=apart(notes, problems),
        problems=tuple(problems),
    )


def _options(kind: str, settings: msgspec.Struct) -> dict[str, Option]:
    options = read_options(settings)
    if isinstance(settings, CronSource):
        zone, schedule = schedules.split(settings.schedule)
        return {**options, "schedule": schedule, **({"timeZone": zone} if zone else {})}
    if isinstance(settings, KafkaSource) and settings.scale_option and settings.scale_option.consumer_group:
        return {**options, "consumerGroup": settings.scale_option.consumer_group}
    return {"qos": "1", **options} if kind == "mqtt" else options


def _sunk(owner: Key, event: str, receiver: Receiver, source: Source) -> Subscription:
    key = names.sunk(owner, event, receiver.name)
    return Subscription(
        key=key, bus=source.bus, subject=source.subject, group=key.name, trigger=owner.name, sink=receiver.sink
    )
