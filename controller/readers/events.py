"""EventBus, EventSource and Trigger -> neutral model: OpenFunction's wire format with every default filled; pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import msgspec

from api import schedules, support
from api.actions import Resource
from api.consistency.events import SOURCE_KINDS
from api.errors import InvalidInput, Problem
from api.kinds.buses import EventBusSpec
from api.kinds.events import EventFilter, Subscriber, TriggerSpec
from api.kinds.fields import Sink
from api.kinds.sources import CronSource, EventSourceSpec
from api.meta import Key
from api.model import Bus, Filter, Option, Source, Subscription
from controller.readers import names
from controller.readers.conditions import NeedsCorrelation, split
from controller.readers.delivery import read_delivery
from controller.readers.model import Scope, SourceModel, TriggerModel, apart
from controller.readers.options import read_options
from triggers import filters

NOT_HELD = frozenset({"kafka", "redis", "nats", "http"})
"""Kinds of source that this release reads and does not run (api.support)."""


def read_bus(resource: Resource) -> Bus:
    """A bus without a broker, or with NATS Streaming, is the platform's own: kind nats without options."""
    spec: EventBusSpec = resource.spec
    if spec.kafka is not None:
        return Bus(key=resource.key, kind="kafka", options=read_options(spec.kafka))
    if spec.mqtt is not None:
        return Bus(key=resource.key, kind="mqtt", options=read_options(spec.mqtt))
    options = read_options(spec.nats) if spec.nats is not None else {}
    return Bus(key=resource.key, kind="nats", options=options)


def read_source(resource: Resource, scope: Scope) -> SourceModel:
    """Each event becomes a Source; a sink becomes a subscription per event."""
    spec: EventSourceSpec = resource.spec
    notes = support.notes("EventSource", spec, scope.capabilities)
    problems = list(_sink(spec.sink, "spec.sink"))
    sink = spec.sink.ref if spec.sink and not problems else None
    sources, subscriptions, functions = [], [], {}
    for kind in SOURCE_KINDS:
        for event, settings in sorted(getattr(spec, kind).items()):
            if kind in NOT_HELD:
                why = support.support("EventSource", kind)
                problems.append(Problem(code="NotYet", path=f"spec.{kind}.{event}", message=why.why if why else ""))
                continue
            source = Source(
                key=Key(resource.key.namespace, f"{resource.key.name}.{event}"),
                kind=kind,  # type: ignore[arg-type] # SOURCE_KINDS are the literals of Source.kind
                options=_options(kind, settings),
                bus=Key(resource.key.namespace, spec.event_bus),
                subject=names.event_subject(resource.key.namespace, resource.key.name, event),
            )
            sources.append(source)
            if sink is not None:
                subscription = _sunk(resource.key, event, sink.name, source)
                subscriptions.append(subscription)
                functions[subscription.key] = Key(resource.key.namespace, sink.name)
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
        return {"schedule": schedule, **({"timeZone": zone} if zone else {})}
    return {"qos": "1", **options} if kind == "mqtt" else options


def _sunk(owner: Key, event: str, function: str, source: Source) -> Subscription:
    key = names.sunk(owner, event, function)
    return Subscription(key=key, bus=source.bus, subject=source.subject, group=key.name, trigger=owner.name)


def read_trigger(resource: Resource, scope: Scope) -> TriggerModel:
    """One subscription per subscriber and input that its condition asks for."""
    spec: TriggerSpec = resource.spec
    found: list[Subscription] = []
    functions: dict[Key, Key] = {}
    inherit: set[Key] = set()
    problems: list[Problem] = []
    for index, subscriber in enumerate(spec.subscribers):
        path = f"spec.subscribers[{index}]"
        defects = list(_defects(subscriber, spec, path))
        problems += defects
        if defects or subscriber.sink is None or subscriber.sink.ref is None:
            continue
        function = Key(resource.key.namespace, subscriber.sink.ref.name)
        for subscription in _subscriptions(resource.key, spec, subscriber, functions):
            found.append(subscription)
            functions[subscription.key] = function
            if subscriber.delivery is None and subscriber.dead_letter_topic is None:
                inherit.add(subscription.key)
    problems += _unknown_inputs(spec, scope)
    return TriggerModel(
        subscriptions=tuple(found),
        functions=functions,
        inherit=frozenset(inherit),
        notes=apart(support.notes("Trigger", spec, scope.capabilities), problems),
        problems=tuple(problems),
    )


def _subscriptions(
    owner: Key, spec: TriggerSpec, subscriber: Subscriber, taken: dict[Key, Key]
) -> Iterator[Subscription]:
    function = subscriber.sink.ref.name if subscriber.sink and subscriber.sink.ref else ""
    for name, condition in split(subscriber.condition, spec.inputs).items():
        given = spec.inputs[name]
        keys = (names.triggered(owner, function, name, nth) for nth in itertools.count())
        key = next(key for key in keys if key not in taken)
        yield Subscription(
            key=key,
            bus=Key(owner.namespace, spec.event_bus),
            subject=names.event_subject(owner.namespace, given.event_source, given.event),
            group=key.name,
            trigger=owner.name,
            filter=read_filter(subscriber.filter),
            condition=condition,
            delivery=read_delivery(subscriber.delivery, subscriber.dead_letter_topic),
        )


def _defects(subscriber: Subscriber, spec: TriggerSpec, path: str) -> Iterator[Problem]:
    """What leaves the subscriber without its events."""
    if subscriber.sink is None:
        message = "publishing on without a function comes with a later release; name a sink"
        yield Problem(code="NotYet", path=f"{path}.topic", message=message)
    yield from _sink(subscriber.sink, f"{path}.sink")
    try:
        wanted = split(subscriber.condition, spec.inputs)
    except NeedsCorrelation:
        message = "correlation of several inputs comes with a later release; use `||`, or one subscriber per input"
        yield Problem(code="NotYet", path=f"{path}.condition", message=message)
        return
    for condition in dict.fromkeys(wanted.values()):
        yield from _uncompilable(None, condition, f"{path}.condition")
    if subscriber.filter is not None and subscriber.filter.sql is None:
        yield from _uncompilable(read_filter(subscriber.filter), None, f"{path}.filter")
    elif subscriber.filter is not None:
        yield Problem(
            code="NotYet", path=f"{path}.filter.sql", message="the sql dialect is not offered; use expression"
        )


def _uncompilable(given: Filter | None, condition: str | None, path: str) -> Iterator[Problem]:
    try:
        filters.compile(given, condition)
    except InvalidInput as error:
        for problem in error.problems:
            yield msgspec.structs.replace(problem, path=path)


def _unknown_inputs(spec: TriggerSpec, scope: Scope) -> Iterator[Problem]:
    for name, given in spec.inputs.items():
        if f"{given.event_source}.{given.event}" not in scope.sources:
            message = f"no event `{given.event}` of an EventSource `{given.event_source}` in {scope.namespace}"
            yield Problem(code="Invalid", path=f"spec.inputs.{name}", message=message)


def _sink(sink: Sink | None, path: str) -> Iterator[Problem]:
    if sink is not None and sink.uri is not None:
        message = "delivery to addresses comes with a later release; name a Function in ref"
        yield Problem(code="NotYet", path=f"{path}.uri", message=message)
    if sink is not None and sink.ref is not None and sink.ref.kind != "Function":
        message = f"a {sink.ref.kind} as sink comes with a later release; name a Function"
        yield Problem(code="NotYet", path=f"{path}.ref.kind", message=message)


def read_filter(given: EventFilter | None) -> Filter | None:
    """The dialect and its argument as deterministic JSON."""
    if given is None:
        return None
    ((dialect, argument),) = _dialect(given).items()
    return Filter(dialect=dialect, argument=msgspec.json.encode(argument, order="deterministic").decode())  # type: ignore[arg-type] # the fields of EventFilter are the literals of Filter.dialect


def _dialect(given: EventFilter) -> dict[str, Any]:
    """``{dialect: argument}``, nested filters alike."""
    for field in msgspec.structs.fields(given):
        value = getattr(given, field.name)
        if isinstance(value, EventFilter):
            return {field.encode_name: _dialect(value)}
        if isinstance(value, tuple):
            return {field.encode_name: [_dialect(inner) for inner in value]}
        if value is not None:
            return {field.encode_name: value}
    return {"all": []}  # decode refuses a filter without dialect; compile refuses this one too
