"""From the neutral model's Bus to its backend: one entry per kind, imported when it is first used."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING, cast

import msgspec

from api.model import Bus, Option
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.errors import BusError

if TYPE_CHECKING:
    from eventbus.fronted.front import Front

BACKENDS = {
    "memory": ("eventbus.memory.bus", "MemoryBus"),
    "nats": ("eventbus.jetstream.bus", "JetStreamBus"),
    "kafka": ("eventbus.kafka.bus", "KafkaBus"),
}
"""Kind -> module and class."""
FRONTS = {
    "mqtt": ("eventbus.mqtt.front", "MqttFront"),
    "jetstream": ("eventbus.jetstream.front", "StreamsFront"),
    "redis": ("eventbus.redis.front", "RedisFront"),
}
"""Kinds whose broker stands in front of a nats bus that stores the events."""
STORE = "store."
"""Options of a bus with a front that begin so are those of its store."""


class NotYet(BusError):
    """This kind of bus is not built in this release."""

    reason = "NotYet"


def embedded(bus: Bus, platform: Platform | None) -> Bus:
    """*bus* with the embedded broker of this machine: as the nats bus that says no address, as the store behind a
    front."""
    if platform is None or bus.kind not in {"nats", *FRONTS} or (bus.kind == "nats" and bus.options.get("url")):
        return bus
    options: dict[str, Option] = {
        "url": f"nats://{platform.nats}",
        "user": platform.nats_user,
        "password": platform.nats_password,
        "durability": platform.durability,
    }
    if bus.kind in FRONTS:
        options = {STORE + name: value for name, value in options.items()}
    return msgspec.structs.replace(bus, options={**bus.options, **options})


def connect(bus: Bus, resolve: Callable[[Option], str]) -> EventBus:
    """The backend for *bus*, not yet connected; *resolve* turns an option into its text, secrets included."""
    if bus.kind in FRONTS:
        return _with_store(bus, resolve)
    if bus.kind not in BACKENDS:
        raise NotYet(
            f"event bus {bus.key} is of kind {bus.kind}, which this release does not run",
            hint=f"use one of {', '.join(sorted({*BACKENDS, *FRONTS}))}",
        )
    return cast("EventBus", _made(*BACKENDS[bus.kind])(bus, resolve))


def _made(module: str, name: str) -> Callable[..., object]:
    return cast("Callable[..., object]", getattr(import_module(module), name))


def _with_store(bus: Bus, resolve: Callable[[Option], str]) -> EventBus:
    """A bus over the nats bus of the same key that stores what its broker receives."""
    from eventbus.fronted.bus import FrontedBus

    inner = {name.removeprefix(STORE): value for name, value in bus.options.items() if name.startswith(STORE)}
    outer = {name: resolve(value) for name, value in bus.options.items() if not name.startswith(STORE)}
    front = cast("Front", _made(*FRONTS[bus.kind])(bus.key, outer))
    return FrontedBus(bus, front, connect(Bus(key=bus.key, kind="nats", options=inner), resolve))
