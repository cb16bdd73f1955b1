"""A bus with its bridges running, as the platform runs them: one per subject, from the planner's own source."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import redis.asyncio as redis

from api.frames import SourceReading
from api.meta import Key
from api.model import Bus, Option, Subscription
from controller.bridges import bridges
from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.connect import FRONTS, STORE
from eventbus.fronted.bus import FrontedBus
from eventbus.state import StateStore
from tests.sources.nats_world import outsider
from triggers.sources import EventSource, connect

WITHIN = 20.0


async def clear(kind: str, options: dict[str, str]) -> None:
    """Leave nothing of another test on the broker in front: they all have the same subjects."""
    if kind == "redis":
        host, _, port = options["redisHost"].rpartition(":")
        async with redis.Redis(host=host, port=int(port)) as client:
            await client.flushall()
    elif kind == "jetstream":
        async with outsider(options) as client:
            await client.js.purge("THEIRS")


def own_options(kind: str, options: dict[str, str]) -> dict[str, Option]:
    """*options*; what limits the store is the store's behind a front."""
    limits = {"retain", "maxBytes"} if kind in FRONTS else set()
    return {STORE + name if name in limits else name: value for name, value in options.items()}


async def _nowhere() -> StateStore:
    raise AssertionError("no bridge keeps state")


class Bridges:
    """The bridges of one bus, started when a subject is first used."""

    def __init__(self, key: Key, options: dict[str, str], kind: str = "mqtt") -> None:
        own = {name: value for name, value in options.items() if not name.startswith(STORE)}
        self._bus = Bus(key=key, kind=kind, options=dict(own))  # type: ignore[arg-type]  # literal from the fixture's parameter
        self._sources: dict[str, EventSource] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._starting = asyncio.Lock()
        self._ids: set[str] = set()
        self._stored = asyncio.Condition()

    async def bridge(self, bus: FrontedBus, subject: str) -> None:
        """Return when the bridge of *subject* has subscribed and said so."""
        async with self._starting:
            if subject in self._sources:
                return
            read = Subscription(key=Key(self._bus.key.namespace, "any"), bus=self._bus.key, subject=subject, group="g")
            (declared,) = bridges([read], {self._bus.key: self._bus})
            source: Any = connect(declared, str, _nowhere)
            told = asyncio.Event()

            async def subscribed() -> None:
                await bus.bridged(subject)
                told.set()

            source.subscribed = subscribed
            self._sources[subject] = source
            self._tasks.append(asyncio.create_task(source.run(partial(self._publish, bus, subject))))
            async with asyncio.timeout(WITHIN):
                await told.wait()

    async def _publish(self, bus: FrontedBus, subject: str, payload: bytes, *, key: str, dedupe: str) -> None:
        await bus.store.publish(subject, payload, key=key, dedupe=dedupe)
        async with self._stored:
            self._ids.add(dedupe)
            self._stored.notify_all()

    async def stored(self, dedupe: str) -> None:
        """Return when the event of that identity is in the store."""
        async with asyncio.timeout(WITHIN), self._stored:
            await self._stored.wait_for(lambda: dedupe in self._ids)

    def state(self, subject: str) -> SourceReading:
        return self._sources[subject].state()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


class Bridged:
    """A bus whose subjects have bridges; publish() returns when the event is stored, so that a test may count."""

    def __init__(self, bus: FrontedBus, bridges_: Bridges) -> None:
        self._bus, self._bridges = bus, bridges_

    async def publish(self, subject: str, payload: bytes, **options: Any) -> None:
        await self._bridges.bridge(self._bus, subject)
        await self._bus.publish(subject, payload, **options)
        read = cloudevents.heading(payload)
        await self._bridges.stored(cloudevents.dedupe_id(read.source, read.id))

    async def open(self, subscription: Subscription, **options: Any) -> Any:
        await self._bridges.bridge(self._bus, subscription.subject)
        return await self._bus.open(subscription, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


def bridged(bus: EventBus, bridges_: Bridges) -> EventBus:
    assert isinstance(bus, FrontedBus)
    return Bridged(bus, bridges_)  # type: ignore[return-value]  # it hands on what it does not have
