"""What brings the events of an MQTT bus from its broker into its store: one source per subject that is read; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from api.meta import Key
from api.model import Bus, Source, Subscription
from eventbus.mqtt.topics import topic_of

PREFIX = "eventbus/"
"""Of their names: no resource has a slash in its own."""


def bridge_key(bus: Key, subject: str) -> Key:
    return Key(bus.namespace, f"{PREFIX}{bus.name}.{subject}")


def bridges(subscriptions: Iterable[Subscription], buses: Mapping[Key, Bus]) -> tuple[Source, ...]:
    """A bridge for each subject of an mqtt bus that a subscription reads; *bridge* tells the proxy to publish into the
    bus's store."""
    found: dict[Key, Source] = {}
    for one in subscriptions:
        bus = buses.get(one.bus)
        if bus is not None and bus.kind == "mqtt":
            key = bridge_key(one.bus, one.subject)
            options = {**bus.options, "topic": topic_of(one.subject), "qos": "1", "bridge": "true"}
            found[key] = Source(key=key, kind="mqtt", options=options, bus=one.bus, subject=one.subject)
    return tuple(found.values())
