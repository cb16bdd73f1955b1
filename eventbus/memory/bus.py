"""The bus in one process's memory: for tests and for what may be lost with the process. Passes the same contract."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime, timedelta

import msgspec

from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents
from eventbus.bus import Attempt, DeadLetter, Deliver, Incoming, Lost, Progress
from eventbus.errors import BusFull, Fenced, LagUnknown, TooLarge, Unreachable
from eventbus.memory.state import MemoryCells
from eventbus.memory.topic import Stored, Topic
from eventbus.progress import Mark
from eventbus.raw import NOTHING
from eventbus.subjects import member_of

DEDUPE_WINDOW = 120.0
"""Seconds, as JetStream's."""
OUTSIDE_SHARE = 0.8
MAX_BYTES = 64 << 20
MAX_EVENT = 4 << 20


class _Member:
    """Progress of one group on one topic."""

    def __init__(self) -> None:
        self.epoch = 0
        self.mark: Mark | None = None
        self.attempts: dict[int, Attempt] = {}
        self.owner: MemoryIntake | None = None


class MemoryIntake:
    """One owner's hold; it is fenced the moment another one opens."""

    def __init__(self, bus: MemoryBus, topic: Topic, member: _Member, name: str, deliver: Deliver, lost: Lost) -> None:
        self._bus, self._topic, self._member, self._name = bus, topic, member, name
        self._deliver, self._lost = deliver, lost
        self.epoch = member.epoch
        assert member.mark is not None
        mark = member.mark
        self.progress = Progress(
            floors={0: mark.floor},
            done={0: frozenset(mark.done)},
            attempts={
                (0, seq): attempt
                for seq, attempt in member.attempts.items()
                if seq > mark.floor and seq not in mark.done
            },
        )
        self._position = mark.floor
        self._wanted = 0
        self._scheduled = False
        self._bell: Callable[[], None] | None = None
        self._alive = True
        topic.listeners.add(self._stored)

    @property
    def fresh(self) -> bool:
        return self._alive and self._bus.connected

    def request(self, events: int) -> None:
        self._wanted += events
        self._wake()

    def outstanding(self) -> int:
        return self._wanted

    def _stored(self, stored: Stored) -> None:
        if stored.only not in {"", self._name}:
            return
        if self._bell is not None:
            self._bell()
        self._wake()

    def _wake(self) -> None:
        if not self._scheduled and self._alive and self._wanted > 0:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._pump)

    def _pump(self) -> None:
        self._scheduled = False
        if not self._alive:
            return
        ready = self._topic.above(self._position, self._name)[: self._wanted]
        if ready:
            self._wanted -= len(ready)
            self._position = ready[-1]
            self._deliver([self._topic.events[seq].event for seq in ready])

    async def read(self, share: int, seq: int) -> bytes:  # noqa: ARG002  # memory has one share
        stored = self._topic.events.get(seq)
        if stored is None:
            raise Unreachable(f"event {seq} is no longer stored")
        return stored.event.payload

    async def commit(self, share: int, floor: int, done: Collection[int]) -> None:  # noqa: ARG002  # memory has one share
        if not self._alive:
            return
        assert self._member.mark is not None
        self._member.mark = self._member.mark.moved(floor, done)
        for seq in [seq for seq in self._member.attempts if seq <= self._member.mark.floor]:
            del self._member.attempts[seq]

    async def record_attempt(self, share: int, seq: int, attempt: Attempt) -> None:  # noqa: ARG002  # memory has one share
        if not self._alive:
            raise Fenced(f"another owner holds {self._name}")
        self._member.attempts[seq] = attempt

    async def dead_letter(self, letter: DeadLetter, share: int, seq: int) -> None:
        id_ = f"{share}-{seq}"
        where = (letter.subscription, letter.subject, id_)
        group = self._bus.groups[self._name]
        self._bus.letters.setdefault(where, msgspec.structs.replace(letter, id=id_, group=group))

    async def pending(self) -> int:
        return len(self._topic.above(self._position, self._name))

    async def arm(self, bell: Callable[[], None]) -> int:
        self._bell = bell
        return await self.pending()

    async def disarm(self) -> None:
        self._bell = None

    async def close(self) -> None:
        self.release()

    def fence(self) -> None:
        """Another owner took over."""
        if self._alive:
            self.release()
            self._lost("another owner took over")

    def release(self) -> None:
        self._alive = False
        self._bell = None
        self._topic.listeners.discard(self._stored)


class MemoryBus:
    """Everything in dicts; one instance is one bus, however many open intakes on it."""

    kind = "memory"

    def __init__(self, bus: Bus, resolve: Callable[[Option], str]) -> None:
        self._max_bytes = int(resolve(bus.options.get("maxBytes", str(MAX_BYTES))))
        self._retain = int(resolve(bus.options.get("retain", "0")))
        self._topics: dict[str, Topic] = {}
        self._members: dict[tuple[str, str], _Member] = {}
        self.letters: dict[tuple[Key, str, str], DeadLetter] = {}
        self.groups: dict[str, str] = {}
        self._cells: dict[str, MemoryCells] = {}
        self.connected = False

    async def connect(self) -> str:
        self.connected = True
        return "memory"

    def _topic(self, subject: str) -> Topic:
        return self._topics.setdefault(subject, Topic())

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        key: str = "",
        dedupe: str = "",
        output: bool = False,
        metadata: Mapping[str, str] = NOTHING,  # noqa: ARG002  # it has no place beside the event
    ) -> None:
        if not self.connected:
            raise Unreachable("the memory bus is closed")
        read = cloudevents.heading(payload)
        payload = cloudevents.with_key(payload, read, key)
        if len(payload) > MAX_EVENT:
            raise TooLarge(f"the event has {len(payload)} bytes, the bus takes {MAX_EVENT}")
        topic = self._topic(subject)
        now = time.monotonic()
        if dedupe and now - topic.seen.get(dedupe, -DEDUPE_WINDOW) < DEDUPE_WINDOW:
            return
        allowed = self._max_bytes if output else self._max_bytes * OUTSIDE_SHARE
        if topic.size + len(payload) > allowed:
            raise BusFull(f"topic {subject} is full", hint="its subscribers are behind; see `evoke top`")
        if dedupe:
            topic.seen = {known: at for known, at in topic.seen.items() if now - at < DEDUPE_WINDOW} | {dedupe: now}
        topic.add(payload, key or read.partitionkey)

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> MemoryIntake:  # noqa: ARG002  # nobody else asks memory who owns it
        topic = self._topic(subscription.subject)
        name = member_of(subscription)
        self.groups[name] = subscription.group
        member = self._members.setdefault((subscription.subject, name), _Member())
        if member.owner is not None:
            member.owner.fence()
        member.epoch += 1
        if member.mark is None:
            first = min(topic.events, default=topic.last + 1)
            member.mark = Mark(floor=first - 1 if subscription.start == "all" else topic.last)
        member.owner = MemoryIntake(self, topic, member, name, deliver, lost)
        return member.owner

    def _member(self, subscription: Subscription) -> _Member | None:
        return self._members.get((subscription.subject, member_of(subscription)))

    async def lag(self, subscription: Subscription) -> int:
        member = self._member(subscription)
        if member is None or member.mark is None:
            raise LagUnknown(f"{subscription.key} was never opened")
        return len(self._topic(subscription.subject).above(member.mark.floor, member_of(subscription)))

    async def forget(self, subscription: Subscription) -> None:
        member = self._member(subscription)
        if member is None:
            return
        if member.owner is not None:
            member.owner.fence()
            member.owner = None
        member.attempts.clear()
        if subscription.start != "resume":
            member.mark = None

    async def tail(self, subject: str, *, since: datetime | None = None) -> AsyncIterator[Incoming]:
        queue: asyncio.Queue[Stored] = asyncio.Queue()
        topics = list(self._topics.values()) if subject == ">" else [self._topic(subject)]
        for topic in topics:
            topic.listeners.add(queue.put_nowait)
        try:
            if since is not None:
                for stored in [stored for topic in topics for stored in topic.events.values()]:
                    if stored.event.published >= since.timestamp() and not stored.only:
                        yield stored.event
            while True:
                stored = await queue.get()
                if not stored.only:
                    yield stored.event
        finally:
            for topic in topics:
                topic.listeners.discard(queue.put_nowait)

    async def dead_letters(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        for letter in list(self.letters.values()):
            if letter.subscription == subscription:
                yield letter

    async def purge_dead_letters(self, subscription: Key, ids: Collection[str] | None = None) -> int:
        gone = [where for where in self.letters if where[0] == subscription and (ids is None or where[2] in ids)]
        for where in gone:
            del self.letters[where]
        return len(gone)

    async def replay(self, letter: DeadLetter) -> None:
        where = (letter.subscription, letter.subject, letter.id)
        if where in self.letters:
            name = next(name for name, group in self.groups.items() if group == letter.group)
            self._topic(letter.subject).add(letter.payload, letter.key, only=name)
            del self.letters[where]

    async def trim(self, subjects: Mapping[str, Collection[Subscription]]) -> None:
        for subject, topic in self._topics.items():
            members = [self._member(subscription) for subscription in subjects.get(subject, ())]
            marks = [member.mark if member else None for member in members]
            if marks and all(marks):
                topic.drop(min(*(mark.floor for mark in marks if mark), topic.last - self._retain))
            elif not marks and topic.size > self._max_bytes // 2:
                topic.drop(topic.last)

    async def state(self, name: str, *, ttl: timedelta) -> MemoryCells:
        return self._cells.setdefault(name, MemoryCells(ttl))

    async def close(self) -> None:
        self.connected = False
        for member in self._members.values():
            if member.owner is not None:
                member.owner.release()
