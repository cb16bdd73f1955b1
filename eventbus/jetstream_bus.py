"""The bus on NATS JetStream: topics as streams, publishes, takeovers, letters, trimming."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime, timedelta

from api.errors import EvokeError
from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents
from eventbus import subjects as topics
from eventbus.bus import DeadLetter, Deliver, Incoming, Lost
from eventbus.cells import Cells
from eventbus.errors import BusError, BusFull, LagUnknown, Refused, TooLarge, Unreachable
from eventbus.intake import JetStreamIntake
from eventbus.jetstream import NANOSECONDS, NO_STREAM, Ack, ApiError, JetStream, StreamInfo
from eventbus.letters import Letters
from eventbus.nats import Connection
from eventbus.ownership import Membership, Records
from eventbus.publishing import MESSAGE_ID, NoStream, Publisher
from eventbus.state import StateStore
from eventbus.tail import tail

DEADLINE = 9.0
"""Seconds until a publish that is not acknowledged raises; a caller is told within ten."""
MAX_BYTES = 1 << 30
"""Of one topic."""
OUTSIDE_SHARE = 0.8
RETAIN = 1000
"""Events that trim() keeps although every subscription has passed them."""
REVIVE_AFTER = 1.0
USAGE_AGE = 2.0
"""Seconds for which a reading of a topic's size is used, own publishes added."""
DEDUPE_WINDOW = 120
HEADER_ROOM = 1024
"""Bytes of a message that are not payload: subject and Nats-Msg-Id."""
STORE_FAILED = frozenset({10077, 10047, 10023})
"""err_codes of a full stream, account and server."""
TOO_LARGE = 10054


class _Topic:
    """One topic's stream, with what we know about its size."""

    def __init__(self, names: topics.Topic, max_bytes: int, used: int, *, grouped: bool) -> None:
        self.names, self.max_bytes, self.used = names, max_bytes, used
        self.grouped = names.stream if grouped else ""
        self.read_at = time.monotonic()
        self.reading: asyncio.Task[None] | None = None


class JetStreamBus:
    """See eventbus.bus.EventBus. Options: of nats_login.py, replicas, durability, maxBytes and retain (per topic)."""

    kind = "nats"

    def __init__(self, bus: Bus, resolve: Callable[[Option], str], *, deadline: float = DEADLINE) -> None:
        def read() -> dict[str, str]:
            return {name: resolve(value) for name, value in bus.options.items()}

        options = read()
        self.key = bus.key
        self._connection = Connection(read, name=f"evoke {bus.key}")
        self._max_bytes = int(options.get("maxBytes", MAX_BYTES))
        self._retain = int(options.get("retain", RETAIN))
        self._start = options.get("start", "new")
        self._lazy = options.get("durability") == "os"
        self._group = options.get("durability") == "sync"
        """The broker syncs every message: publishes that overlap share one fsync."""
        self._js = JetStream(self._connection, int(options.get("replicas", 1)))
        self._publisher = Publisher(self._connection, deadline)
        self._records = Records(self._js)
        self._letters = Letters(self._js, bus.key)
        self._topics: dict[str, _Topic] = {}
        self._making: dict[str, asyncio.Lock] = {}
        self._intakes: set[JetStreamIntake] = set()
        self._revival: asyncio.Task[None] | None = None
        self._connection.on_closed.append(self._ended)

    async def connect(self) -> str:
        version = await self._connection.connect()
        await self._records.ensure()
        await self._letters.ensure()
        await self._publisher.start()
        return f"nats {version}, on disk within two minutes" if self._lazy else f"nats {version}, on disk"

    def _ended(self, _reason: str) -> None:
        if self._revival is None:
            self._revival = asyncio.get_running_loop().create_task(self._revive())

    async def _revive(self) -> None:
        """Connect anew: the client library gives up for good on an error that the broker spelled out."""
        while True:
            try:
                await self._connection.connect()
                await self._publisher.start()
            except (EvokeError, LookupError) as error:  # LookupError: a secret that is gone
                self._connection.trouble = error if isinstance(error, BusError) else BusError(str(error))
                await asyncio.sleep(REVIVE_AFTER)
            else:
                break
        self._revival = None

    @property
    def connected(self) -> bool:
        return self._connection.connected

    @property
    def trouble(self) -> BusError | None:
        """Why the connection is not back; None: nothing is known."""
        return None if self.connected else self._connection.trouble

    async def _topic(self, subject: str) -> _Topic:
        """The topic's stream, made when it is first used here."""
        async with self._making.setdefault(subject, asyncio.Lock()):
            if subject not in self._topics:
                names = topics.topic(self.key, subject)
                info = await self._js.ensure_stream({
                    "name": names.stream,
                    "subjects": [names.subjects],
                    "storage": "file",
                    "retention": "limits",
                    "discard": "new",
                    "max_bytes": self._max_bytes,
                    "duplicate_window": DEDUPE_WINDOW * NANOSECONDS,
                    "max_consumers": 100_000,
                    "allow_direct": True,
                    "allow_atomic": True,
                })  # fmt: skip
                if self._group and not info.config.allow_atomic:
                    info = await self._allow_batches(names.stream, info)
                limit = info.config.max_bytes if info.config.max_bytes > 0 else 1 << 62
                grouped = self._group and info.config.allow_atomic
                self._topics[subject] = _Topic(names, limit, info.state.bytes, grouped=grouped)
            return self._topics[subject]

    async def _allow_batches(self, stream: str, known: StreamInfo) -> StreamInfo:
        try:
            return await self._js.allow_batches(stream)
        except ApiError:
            return known  # publishes go singly

    async def publish(
        self, subject: str, payload: bytes, *, key: str = "", dedupe: str = "", output: bool = False
    ) -> None:
        read = cloudevents.heading(payload)
        if key and key != read.partitionkey:
            payload = cloudevents.with_key(payload, read, key)
        size = len(payload) + HEADER_ROOM
        if size > self._connection.max_payload:
            raise TooLarge(f"the event has {len(payload)} bytes, the bus takes {self._connection.max_payload}")
        topic = self._topics.get(subject) or await self._topic(subject)
        if not output:
            await self._admit(subject, topic, len(payload))
        where = topic.names.event(key or read.partitionkey or read.id, read.type, read.source)
        headers = {MESSAGE_ID: dedupe} if dedupe else None
        try:
            ack = await self._publisher.publish(where, payload, headers, grouped=topic.grouped)
        except NoStream:
            self._topics.pop(subject, None)  # deleted behind our back, or the broker is just starting
            topic = await self._topic(subject)
            ack = await self._publisher.publish(where, payload, headers, grouped=topic.grouped)
        topic.used += len(payload)
        if ack.error is not None:
            raise _refusal(ack, subject)

    async def _admit(self, subject: str, topic: _Topic, size: int) -> None:
        """Keep outside publishers out of the last fifth: what functions emit must fit, or nothing drains."""
        limit = topic.max_bytes * OUTSIDE_SHARE
        age = time.monotonic() - topic.read_at
        if age > USAGE_AGE and topic.reading is None:
            topic.reading = asyncio.get_running_loop().create_task(self._measure(topic))
        if topic.used + size > limit and (age > 0.1 or topic.reading is not None):
            await (topic.reading or self._measure(topic))
        if topic.used + size > limit:
            raise BusFull(f"topic {subject} is full for publishers", hint="its subscribers are behind; see `evoke top`")

    async def _measure(self, topic: _Topic) -> None:
        topic.read_at = time.monotonic()
        try:
            topic.used = (await self._js.stream_info(topic.names.stream)).state.bytes
        except (ApiError, Unreachable):
            pass  # the publish itself will tell
        finally:
            topic.reading = None

    def _membership(self, subscription: Subscription) -> Membership:
        return Membership(self._records, topics.topic(self.key, subscription.subject), subscription, self._start)

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> JetStreamIntake:
        await self._topic(subscription.subject)
        membership = self._membership(subscription)
        claim = await membership.take(worker)
        intake = JetStreamIntake(self._connection, membership, claim, self._letters, deliver, lost)
        await intake.start()
        self._intakes = {known for known in self._intakes if known.alive} | {intake}
        return intake

    async def lag(self, subscription: Subscription) -> int:
        found = await self._membership(subscription).current()
        if found is None or found[1] is None:
            raise LagUnknown(f"{subscription.key} was never opened")
        return found[1].num_pending + found[1].num_ack_pending

    async def forget(self, subscription: Subscription) -> None:
        await self._membership(subscription).forget()

    def tail(self, subject: str, *, since: datetime | None = None) -> AsyncIterator[Incoming]:
        return tail(self._js, self.key, subject, since)

    def dead_letters(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        return self._letters.each(subscription)

    async def purge_dead_letters(self, subscription: Key, ids: Collection[str] | None = None) -> int:
        return await self._letters.purge(subscription, ids)

    async def replay(self, letter: DeadLetter) -> None:
        topic = await self._topic(letter.subject)
        subject = topic.names.replay(topics.member(letter.group, letter.subject))
        stamp = f"replay {topic.names.stream} {letter.subscription} {letter.id} {letter.at.timestamp()}"
        ack = await self._publisher.publish(subject, letter.payload, {MESSAGE_ID: stamp.replace(" ", "/")})
        if ack.error is not None:
            raise _refusal(ack, letter.subject)
        await self._letters.delete(letter, topic.names.stream)

    async def trim(self, subjects: Mapping[str, Collection[Subscription]]) -> None:
        named = {}
        for subject, subscriptions in subjects.items():
            names = topics.topic(self.key, subject)
            named[names.stream] = True
            found = [await self._membership(subscription).current() for subscription in subscriptions]
            if all(progress is not None for progress in found):
                floors = [progress[0].floor for progress in found if progress]
                await self._shorten(names.stream, min(floors) if floors else None)
        for stream in await self._js.stream_names(topics.all_subjects(self.key)):
            if stream not in named:
                await self._shorten(stream, None)

    async def _shorten(self, stream: str, floor: int | None) -> None:
        """Drop what lies up to *floor*; without one nobody reads the topic, and only its size counts."""
        try:
            state = (await self._js.stream_info(stream)).state
        except ApiError as error:
            if error.number == NO_STREAM:
                return
            raise
        spare = state.bytes < self._max_bytes // 2
        if floor is None and (spare or state.consumer_count):
            return
        kept = self._retain if spare else 0  # history gives way to what is still to come
        passed = state.last_seq if floor is None else floor
        below = min(passed, state.last_seq - kept) + 1
        if below > state.first_seq:
            await self._js.purge(stream, below=below)

    async def state(self, name: str, *, ttl: timedelta) -> StateStore:
        cells = Cells(self._js, name)
        await cells.ensure(ttl)
        return cells

    async def close(self) -> None:
        if self._revival is not None:
            self._revival.cancel()
        self._publisher.stop("the bus was closed")
        for intake in self._intakes:
            intake.release()
        for topic in self._topics.values():
            if topic.reading is not None:
                topic.reading.cancel()
        await self._connection.close()


def _refusal(ack: Ack, subject: str) -> Refused:
    error = ack.error
    assert error is not None
    if error.err_code == TOO_LARGE:
        return TooLarge(f"the event is too large: {error.description}")
    if error.err_code in STORE_FAILED:
        return BusFull(f"topic {subject} is full: {error.description}", hint="its subscribers are behind")
    return Refused(f"the bus did not store the event: {error.description} ({error.err_code})")
