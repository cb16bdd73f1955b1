"""What every test of the contract uses: one empty bus, an owner that keeps what it receives, events to publish."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents
from eventbus.bus import DeadLetter, EventBus, Incoming, Intake
from eventbus.connect import FRONTS, connect
from eventbus.errors import BusFull, LagUnknown, Unreachable
from tests.contract.bridged import Bridges, bridged, clear, own_options
from tests.kafka import delete_topics

TIMEOUT = 30.0
"""Seconds for what takes milliseconds: a bar against hangs, on a machine that does much else."""
namespaces = (f"ns{number}" for number in itertools.count())


def plain(option: Option) -> str:
    assert isinstance(option, str)
    return option


class Broker:
    """One empty bus; connect() gives one more connection to it, as another process would have."""

    def __init__(self, kind: str, options: dict[str, str], server: Any) -> None:
        self.kind = kind
        self.server = server
        """The process: tests.brokers.Nats, tests.kafka.Kafka, or None."""
        self.key = Key(next(namespaces), "default")
        self.options = dict(options)
        self._memory: EventBus | None = None
        self._open: list[EventBus] = []
        self._bridges: Bridges | None = None

    async def connect(self) -> EventBus:
        if self.kind == "memory" and self._memory is not None:
            return self._memory
        if self.kind in FRONTS and not self._open:
            await clear(self.kind, self.options)
        bus = connect(Bus(key=self.key, kind=self.kind, options=own_options(self.kind, self.options)), plain)  # type: ignore[arg-type]  # literal from the fixture's parameter
        await bus.connect()
        if self.kind == "kafka" and not self._open:
            await empty(bus)
        self._open.append(bus)
        if self.kind == "memory":
            self._memory = bus
        if self.kind in FRONTS:
            self._bridges = self._bridges or Bridges(self.key, self.options, self.kind)
            return bridged(bus, self._bridges)
        return bus

    def subscription(self, subject: str = "topic", group: str = "g", **fields: Any) -> Subscription:
        return Subscription(
            key=Key(self.key.namespace, group), bus=self.key, subject=subject, group=group, **{"start": "all", **fields}
        )

    def run(self, test: Callable[[EventBus], Coroutine[None, None, None]]) -> None:
        async def main() -> None:
            try:
                async with asyncio.timeout(180):
                    await test(await self.connect())
            finally:
                if self._bridges is not None:
                    await self._bridges.stop()
                for bus in self._open:
                    await bus.close()

        asyncio.run(main())


async def empty(bus: EventBus) -> None:
    """Delete every topic of a Kafka cluster: they are the subjects themselves, and every test has the same ones."""
    cluster = bus._cluster  # type: ignore[attr-defined]  # as an operator would
    if names := await cluster.topics():
        await cluster.call(None, delete_topics(names))
    while await cluster.topics():  # noqa: ASYNC110  # nothing tells when
        await asyncio.sleep(0.02)


class Owner:
    """Keeps what an intake delivers, and waits for it."""

    def __init__(self) -> None:
        self.events: list[Incoming] = []
        self.lost: list[str] = []
        self.intake: Intake
        self._changed = asyncio.Event()

    @classmethod
    async def open(cls, bus: EventBus, subscription: Subscription) -> Owner:
        owner = cls()
        owner.intake = await bus.open(subscription, worker="test", deliver=owner._deliver, lost=owner._lose)
        return owner

    def _deliver(self, events: Sequence[Incoming]) -> None:
        self.events.extend(events)
        self._changed.set()

    def _lose(self, reason: str) -> None:
        self.lost.append(reason)
        self._changed.set()

    async def wait(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(TIMEOUT):
            while not done():
                self._changed.clear()
                await self._changed.wait()

    async def take(self, count: int) -> list[Incoming]:
        """The next *count* events."""
        before = len(self.events)
        self.intake.request(count)
        await self.wait(lambda: len(self.events) >= before + count)
        return self.events[before:]

    async def until_lost(self) -> str:
        await self.wait(lambda: self.lost)
        return self.lost[0]


def event(number: int, key: str = "", size: int = 0) -> bytes:
    extensions = {"partitionkey": key} if key else {}
    return cloudevents.encode(
        id=str(number), source="/test", type="t", body=json.dumps("x" * size).encode(), extensions=extensions
    )


def ids(events: Sequence[Incoming]) -> list[int]:
    return [int(cloudevents.heading(incoming.payload).id) for incoming in events]


async def fill(bus: EventBus, count: int, first: int = 0, subject: str = "topic") -> None:
    await asyncio.gather(*(bus.publish(subject, event(number)) for number in range(first, first + count)))


async def settled(bus: EventBus, subscription: Subscription, expected: int) -> int:
    """lag() once it is as expected, or what it is at the end: an ack has no answer to wait for."""
    lag = -1
    for _ in range(200):
        with suppress(LagUnknown):  # while its owner makes the consumer again
            lag = await bus.lag(subscription)
        if lag == expected:
            break
        await asyncio.sleep(0.01)
    return lag


def letter_of(subscription: Subscription, incoming: Incoming, reason: str = "max-attempts") -> DeadLetter:
    return DeadLetter(
        id=f"{incoming.share}-{incoming.seq}",
        subscription=subscription.key,
        trigger="t",
        subject=subscription.subject,
        reason=reason,
        attempts=3,
        at=datetime(2026, 1, 2, tzinfo=UTC),
        key=incoming.key,
        payload=incoming.payload,
    )


async def letters(bus: EventBus, subscription: Subscription) -> list[DeadLetter]:
    return [letter async for letter in bus.dead_letters(subscription.key)]


async def fill_up(bus: EventBus, *, output: bool = False) -> int:
    """Publish until the topic is full; answers how many it took."""
    for number in range(200):
        try:
            await bus.publish("topic", event(number, size=1000), output=output)
        except BusFull:
            return number
    raise AssertionError("never full")


@asynccontextmanager
async def tailing(bus: EventBus, subject: str, since: datetime | None = None) -> AsyncIterator[AsyncIterator[Incoming]]:
    events = bus.tail(subject, since=since)
    try:
        yield events
    finally:
        await events.aclose()  # type: ignore[attr-defined]  # every backend's is a generator


async def publish_surely(bus: EventBus, number: int) -> None:
    """Again until acknowledged, with one identity, as every publisher of ours does."""
    while True:
        try:
            await bus.publish("topic", event(number), dedupe=cloudevents.dedupe_id("/test", str(number)))
        except Unreachable:
            continue
        else:
            return
