"""What brings the events of a bus with a broker in front into its store: one source per subject that is read; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Literal

from api.meta import Key
from api.model import Bus, Option, Source, Subscription
from eventbus.mqtt.topics import filter_of, topic_of

PREFIX = "eventbus/"
"""Of their names: no resource has a slash in its own."""


def bridge_key(bus: Key, subject: str) -> Key:
    return Key(bus.namespace, f"{PREFIX}{bus.name}.{subject}")


def _mqtt(bus: Bus, subject: str) -> dict[str, Option]:
    """*retain* and *qos* of a component are about its publishes."""
    kept = {name: value for name, value in bus.options.items() if name not in {"retain", "qos"}}
    topic = filter_of(subject) if bus.options.get("dapr") == "true" else topic_of(subject)
    return {**kept, "topic": topic, "qos": "1"}


def _jetstream(bus: Bus, subject: str) -> dict[str, Option]:
    return {**bus.options, "subject": subject}


def _redis(bus: Bus, subject: str) -> dict[str, Option]:
    return {**bus.options, "stream": subject}


KINDS: Mapping[str, tuple[Literal["mqtt", "nats", "redis"], Callable[[Bus, str], dict[str, Option]]]] = {
    "mqtt": ("mqtt", _mqtt),
    "jetstream": ("nats", _jetstream),
    "redis": ("redis", _redis),
}
"""Kind of the bus -> kind of the source, and its options beside *bridge*."""


def bridged(bus: Bus | None) -> bool:
    """Whether a broker stands in front of the bus's store."""
    return bus is not None and bus.kind in KINDS


def bridges(subscriptions: Iterable[Subscription], buses: Mapping[Key, Bus]) -> tuple[Source, ...]:
    """A bridge for each subject that a subscription reads; *bridge* tells the proxy to publish into the bus's store."""
    found: dict[Key, Source] = {}
    for one in subscriptions:
        bus = buses.get(one.bus)
        if bus is not None and bus.kind in KINDS:
            kind, options = KINDS[bus.kind]
            key = bridge_key(one.bus, one.subject)
            found[key] = Source(
                key=key,
                kind=kind,
                options={**options(bus, one.subject), "bridge": "true"},
                bus=one.bus,
                subject=one.subject,
            )
    return tuple(found.values())
