"""Bridges: the sources that bring what the broker in front of a bus receives into the store of that same bus."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Awaitable, Callable
from typing import Protocol, cast

import msgspec

from api.model import Source
from api.platform import Platform
from eventbus.bus import EventBus
from triggers.sources import EventSource


class Fronted(Protocol):
    """A bus with an outside broker in front of its store."""

    @property
    def store(self) -> EventBus: ...

    async def bridged(self, subject: str) -> None: ...


class Bridge(Protocol):
    """A source that says when the outside broker keeps events for it."""

    subscribed: Callable[[], Awaitable[None]] | None


def is_bridge(source: Source) -> bool:
    """Whether the planner added *source* for a bus with a broker in front (controller/bridges.py)."""
    return source.options.get("bridge") == "true"


def is_own(source: Source) -> bool:
    """Whether the platform made *source* for itself, so that it must have a name of its own on the broker."""
    return is_bridge(source) or (source.kind == "mqtt" and bool(source.options.get("binding")))


def named(source: Source, platform: Platform | None) -> Source:
    """*source* with a client id, consumer or group that no other platform has on the same broker."""
    if platform is None:
        return source
    name = hmac.new(bytes.fromhex(platform.key), f"bridge {source.key}".encode(), hashlib.sha256).hexdigest()
    return msgspec.structs.replace(source, options={"consumerID": f"evoke-{name[:17]}", **source.options})


def into(source: Source, bus: EventBus) -> EventBus:
    """Where *source* publishes: a bridge into the store, since on the bus itself its events would come round again."""
    return cast("Fronted", bus).store if is_bridge(source) else bus


def wired(source: Source, running: EventSource, bus: Callable[[], EventBus]) -> EventSource:
    """*running*; a bridge tells its bus when it has subscribed."""
    if is_bridge(source):

        async def subscribed() -> None:
            await cast("Fronted", bus()).bridged(source.subject)

        cast("Bridge", running).subscribed = subscribed
    return running
