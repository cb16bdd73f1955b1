"""From the neutral model's Bus to its backend: one entry per kind, imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

import msgspec

from api.model import Bus, Option
from eventbus.bus import EventBus
from eventbus.errors import BusError

BACKENDS = {
    "memory": ("eventbus.memory", "MemoryBus"),
    "nats": ("eventbus.jetstream_bus", "JetStreamBus"),
    "kafka": ("eventbus.kafka_bus", "KafkaBus"),
}
"""Kind -> module and class; ``mqtt`` is composed in connect()."""
STORE = "store."
"""Options of an mqtt bus that begin so are those of the nats bus that stores its events."""


class NotYet(BusError):
    """This kind of bus is not built in this release."""

    reason = "NotYet"


def connect(bus: Bus, resolve: Callable[[Option], str]) -> EventBus:
    """The backend for *bus*, not yet connected; *resolve* turns an option into its text, secrets included."""
    if bus.kind == "mqtt":
        return _with_store(bus, resolve)
    if bus.kind not in BACKENDS:
        raise NotYet(
            f"event bus {bus.key} is of kind {bus.kind}, which this release does not run",
            hint=f"use one of {', '.join(sorted(BACKENDS))}",
        )
    module, name = BACKENDS[bus.kind]
    return cast("EventBus", getattr(import_module(module), name)(bus, resolve))


def _with_store(bus: Bus, resolve: Callable[[Option], str]) -> EventBus:
    """An mqtt bus over the nats bus of the same key that stores what it publishes."""
    inner = {name.removeprefix(STORE): value for name, value in bus.options.items() if name.startswith(STORE)}
    outer = {name: value for name, value in bus.options.items() if not name.startswith(STORE)}
    from eventbus.mqtt import MqttBus

    store = connect(Bus(key=bus.key, kind="nats", options=inner), resolve)
    return MqttBus(msgspec.structs.replace(bus, options=outer), resolve, store=store)
