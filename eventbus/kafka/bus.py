"""The bus on Kafka: topics as they stand, publishes, takeovers, letters, trimming."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime, timedelta

from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents
from eventbus.bus import DeadLetter, Deliver, Incoming, Lost
from eventbus.errors import BusError, LagUnknown, Refused, Unreachable
from eventbus.kafka import names, wire
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.dialect import Dialect, Writing
from eventbus.kafka.group import Committed, Expired, Group
from eventbus.kafka.intake import KafkaIntake
from eventbus.kafka.letters import Letters
from eventbus.kafka.publisher import Publisher
from eventbus.kafka.records import to_record
from eventbus.kafka.settings import Settings
from eventbus.kafka.tail import tail
from eventbus.kafka.takeover import Sources, take
from eventbus.kafka.topics import REPLAYS, Topics
from eventbus.kafka.wire import EARLIEST, LATEST, Place
from eventbus.raw import NOTHING

DEADLINE = 9.0
"""Seconds until a publish that is not acknowledged raises; a caller is told within ten."""
PARTITIONS = 1
"""Of topics that we make: events of a topic stay in order, and the window above runs keys in parallel."""


class KafkaBus:
    """See eventbus.bus.EventBus. Options: the fields of api.kinds.buses.KafkaBus."""

    kind = "kafka"

    def __init__(self, bus: Bus, resolve: Callable[[Option], str], *, deadline: float = DEADLINE) -> None:
        options = {name: resolve(value) for name, value in bus.options.items()}
        self.key = bus.key
        self._deadline = deadline
        self._retain = int(options["retain"]) if options.get("retain") else None
        self._cluster = Cluster(Settings.read(options))
        self._start = options.get("start", "")
        self._dapr = options.get("dapr") == "true"
        self._dialect = Dialect(bus.key.name.rpartition("/")[2], options)
        self._topics = Topics(self._cluster, int(options.get("partitions") or PARTITIONS))
        self._publisher = Publisher(self._cluster, deadline)
        self._letters = Letters(self._cluster, self._topics, self._publisher)
        self._intakes: set[KafkaIntake] = set()
        self._turn = 0

    async def connect(self) -> str:
        brokers = await self._cluster.connect()
        return f"kafka, {brokers} broker{'' if brokers == 1 else 's'}"

    @property
    def connected(self) -> bool:
        return self._cluster.connected

    @property
    def trouble(self) -> BusError | None:
        """Why it is not connected; None when it is, or when that is not known yet."""
        return None if self.connected else self._cluster.trouble

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        key: str = "",
        dedupe: str = "",
        output: bool = False,  # noqa: ARG002  # Kafka's limits are its own, the same for everybody
        metadata: Mapping[str, str] = NOTHING,
    ) -> None:
        read = cloudevents.heading(payload)
        writing = self._dialect.writing(payload, read, key, dedupe, metadata)
        deadline = time.monotonic() + self._deadline
        partitions = self._topics.ready(subject) or await self._partitions(names.topic(subject))
        self._turn += 1
        try:
            place = subject, self._place(writing, partitions)
            await self._publisher.publish(place, writing.record, deadline)
        except Unreachable:
            self._topics.forget(subject)  # it may have been deleted
            raise

    def _place(self, writing: Writing, partitions: list[int]) -> int:
        """The partition that the publisher named, or the one of its key; raises Refused."""
        if writing.partition is None:
            return wire.partition(writing.record.key, partitions, self._turn)
        if writing.partition not in partitions:
            raise Refused(f"there is no partition {writing.partition}, only {len(partitions)}")
        return writing.partition

    async def _partitions(self, topic: str) -> list[int]:
        try:
            async with asyncio.timeout(self._deadline):
                return await self._topics.ensure(topic)
        except TimeoutError:
            raise Unreachable(f"topic {topic} could not be looked up in time") from None

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> KafkaIntake:  # noqa: ARG002  # the coordinator knows its members by their connection
        sources = Sources(subscription, self._start, dapr=self._dapr)
        await self._topics.ensure(sources.topic)
        group = Group(self._cluster, names.group(subscription))
        now = time.time()
        claim = await take(self._cluster, group, sources, now)
        intake = KafkaIntake(self._cluster, group, sources, claim, self._letters, self._dialect, deliver, lost)
        await intake.start(now)
        self._intakes = {known for known in self._intakes if known.alive} | {intake}
        return intake

    async def _progress(self, subscription: Subscription) -> dict[Place, Committed] | None:
        """What the owners committed; None when it was never opened."""
        sources = Sources(subscription)
        found = await Group(self._cluster, names.group(subscription)).committed()
        if not any(one.marks.epoch for one in found.values()):
            return None
        places = await self._topics.places([sources.topic, sources.replays])
        first = await self._cluster.offsets({place: EARLIEST for place in places if place not in found})
        none = next(iter(found.values())).marks
        return {place: found.get(place) or Committed(first[place], none) for place in places}

    async def lag(self, subscription: Subscription) -> int:
        progress = await self._progress(subscription)
        if progress is None:
            raise LagUnknown(f"{subscription.key} was never opened")
        ends = await self._cluster.offsets(dict.fromkeys(progress, LATEST))
        return sum(max(0, ends[place] - one.floor) for place, one in progress.items())

    async def forget(self, subscription: Subscription) -> None:
        group = Group(self._cluster, names.group(subscription))
        if subscription.start == "resume":
            if await self._progress(subscription) is not None:  # under a new epoch nobody who owned it goes on
                await take(self._cluster, group, Sources(subscription), time.time())
                await group.evict()
            return
        with contextlib.suppress(Expired):  # nobody owns it
            await group.evict()
        await group.delete()

    def tail(self, subject: str, *, since: datetime | None = None) -> AsyncIterator[Incoming]:
        return tail(self._cluster, self._topics, subject, since, self._dialect)

    def dead_letters(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        return self._letters.each(subscription)

    async def purge_dead_letters(self, subscription: Key, ids: Collection[str] | None = None) -> int:
        return await self._letters.purge(subscription, ids)

    async def replay(self, letter: DeadLetter) -> None:
        topic = names.replays(letter.subscription, letter.group, letter.subject)
        await self._topics.ensure(topic, REPLAYS)
        await self._publisher.publish((topic, 0), to_record(letter.payload, key=letter.key))
        await self._letters.delete(letter)

    async def trim(self, subjects: Mapping[str, Collection[Subscription]]) -> None:
        """Only where the bus says how much to keep: other programs may read the same topics, and Kafka has its own
        retention. What nobody reads is left to that too."""
        if self._retain is None:
            return
        for subscriptions in subjects.values():
            found = [await self._progress(subscription) for subscription in subscriptions]
            passed: dict[Place, int] = {}
            for progress in found:
                for place, one in (progress or {}).items():
                    passed[place] = min(one.floor, passed.get(place, one.floor))
            if found and all(progress is not None for progress in found):
                await self._shorten(passed)

    async def _shorten(self, passed: Mapping[Place, int]) -> None:
        retain = self._retain or 0
        first = await self._cluster.offsets(dict.fromkeys(passed, EARLIEST))
        last = await self._cluster.offsets(dict.fromkeys(passed, LATEST))
        below = {place: min(floor, last[place] - retain) for place, floor in passed.items()}
        await self._topics.shorten({place: offset for place, offset in below.items() if offset > first[place]})

    async def state(self, name: str, *, ttl: timedelta) -> None:  # noqa: ARG002  # Kafka has no compare-and-set
        return None

    async def close(self) -> None:
        self._publisher.stop("the bus was closed")
        for intake in self._intakes:
            intake.release()
        await self._cluster.close()
