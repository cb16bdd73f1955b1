"""From the neutral model's Bus to its backend: one entry per kind, imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import cast

import msgspec

from api.model import Bus, Option
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.errors import BusError

BACKENDS = {
    "memory": ("eventbus.memory.bus", "MemoryBus"),
    "nats": ("eventbus.jetstream.bus", "JetStreamBus"),
    "kafka": ("eventbus.kafka.bus", "KafkaBus"),
}
"""Kind -> module and class; ``mqtt`` is composed in connect()."""
STORE = "store."
"""Options of an mqtt bus that begin so are those of the nats bus that stores its events."""


class NotYet(BusError):
    """This kind of bus is not built in this release."""

    reason = "NotYet"


def embedded(bus: Bus, platform: Platform | None) -> Bus:
    """*bus* with the embedded broker of this machine: as the nats bus that says no address, as the store of an mqtt
    bus."""
    if platform is None or bus.kind not in {"nats", "mqtt"} or (bus.kind == "nats" and bus.options.get("url")):
        return bus
    options: dict[str, Option] = {
        "url": f"nats://{platform.nats}",
        "user": platform.nats_user,
        "password": platform.nats_password,
        "durability": platform.durability,
    }
    if bus.kind == "mqtt":
        options = {STORE + name: value for name, value in options.items()}
    return msgspec.structs.replace(bus, options={**bus.options, **options})


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
    from eventbus.mqtt.bus import MqttBus

    store = connect(Bus(key=bus.key, kind="nats", options=inner), resolve)
    return MqttBus(msgspec.structs.replace(bus, options=outer), resolve, store=store)
