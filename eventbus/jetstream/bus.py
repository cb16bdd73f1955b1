"""The bus on NATS JetStream: topics as streams, publishes, takeovers, letters, trimming."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from datetime import datetime, timedelta

from api.errors import EvokeError
from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents
from eventbus.bus import DeadLetter, Deliver, Incoming, Lost
from eventbus.errors import BusError, LagUnknown, TooLarge, Unreachable
from eventbus.jetstream.api import NO_STREAM, Ack, ApiError, JetStream
from eventbus.jetstream.cells import Cells
from eventbus.jetstream.connection import Connection
from eventbus.jetstream.intake import JetStreamIntake
from eventbus.jetstream.letters import Letters
from eventbus.jetstream.ownership import Membership, Records
from eventbus.jetstream.publishing import FULL, MESSAGE_ID, NoStream, Publisher, refusal
from eventbus.jetstream.streams import Streams
from eventbus.jetstream.tail import tail
from eventbus.raw import NOTHING
from eventbus.state import StateStore
from eventbus.subjects import all_subjects, member, topic

DEADLINE = 9.0
"""Seconds until a publish that is not acknowledged raises; a caller is told within ten."""
MAX_BYTES = 1 << 30
"""Of one topic."""
RETAIN = 1000
"""Events that trim() keeps although every subscription has passed them."""
REVIVE_AFTER = 1.0
HEADER_ROOM = 1024
"""Bytes of a message that are not payload: subject and Nats-Msg-Id."""


class JetStreamBus:
    """See eventbus.bus.EventBus. Options: of login.py, replicas, durability, maxBytes and retain (per topic)."""

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
        durability = options.get("durability")  # where the broker syncs every message, publishes share one fsync
        self._lazy = durability == "os"
        self._js = JetStream(self._connection, int(options.get("replicas", 1)))
        self._publisher = Publisher(self._connection, deadline)
        self._records = Records(self._js)
        self._letters = Letters(self._js, bus.key)
        self._streams = Streams(self._js, bus.key, max_bytes=self._max_bytes, grouped=durability == "sync")
        self._readers: Mapping[str, Collection[Subscription]] = {}
        """Who reads each subject, as trim() was told last."""
        self._intakes: set[JetStreamIntake] = set()
        self._revival: asyncio.Task[None] | None = None
        self._connection.on_closed.append(self._ended)
        self._connection.on_up.append(self._started_anew)

    async def connect(self) -> str:
        version = await self._connection.connect()
        try:
            await self._records.ensure()
            await self._letters.ensure()
            await self._publisher.start()
        except BaseException:
            await self._connection.close()  # whoever tries again makes another bus
            raise
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

    async def _started_anew(self) -> None:
        for stream in self._streams:
            stream.failure = None

    @property
    def connected(self) -> bool:
        return self._connection.connected and not self._failure

    @property
    def _failure(self) -> BusError | None:
        return next((stream.failure for stream in self._streams if stream.failure), None)

    @property
    def trouble(self) -> BusError | None:
        """Why the bus does not work although it was connected once; None: nothing is known."""
        return self._failure if self._connection.connected else self._connection.trouble

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
        read = cloudevents.heading(payload)
        if key and key != read.partitionkey:
            payload = cloudevents.with_key(payload, read, key)
        size = len(payload) + HEADER_ROOM
        if size > self._connection.max_payload:
            raise TooLarge(f"the event has {len(payload)} bytes, the bus takes {self._connection.max_payload}")
        stream = await self._streams.get(subject)
        if stream.failure:
            await stream.examine()
        if not output:
            await stream.admit(len(payload))
        where = stream.names.event(key or read.partitionkey or read.id, read.type, read.source)
        headers = {MESSAGE_ID: dedupe} if dedupe else None
        ack = await self._store(subject, where, payload, headers)
        if output and ack.error is not None and ack.error.err_code in FULL:
            await self._make_room(subject)
            ack = await self._store(subject, where, payload, headers)
        stream.used += len(payload)
        if ack.error is not None:
            raise refusal(ack, subject)

    async def _store(self, subject: str, where: str, payload: bytes, headers: dict[str, str] | None) -> Ack:
        stream = await self._streams.get(subject)
        try:
            return await self._publisher.publish(where, payload, headers, grouped=stream.grouped)
        except NoStream:
            self._streams.drop(subject)
            stream = await self._streams.get(subject)
            return await self._publisher.publish(where, payload, headers, grouped=stream.grouped)
        except Unreachable:
            if self._connection.connected:
                await stream.examine()
            raise

    def _membership(self, subscription: Subscription) -> Membership:
        return Membership(self._records, topic(self.key, subscription.subject), subscription, self._start)

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> JetStreamIntake:
        await self._streams.get(subscription.subject)
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
        names = (await self._streams.get(letter.subject)).names
        subject = names.replay(member(letter.group, letter.subject))
        stamp = f"replay {names.stream} {letter.subscription} {letter.id} {letter.at.timestamp()}"
        ack = await self._publisher.publish(subject, letter.payload, {MESSAGE_ID: stamp.replace(" ", "/")})
        if ack.error is not None:
            raise refusal(ack, letter.subject)
        await self._letters.delete(letter, names.stream)

    async def trim(self, subjects: Mapping[str, Collection[Subscription]]) -> None:
        self._readers = subjects
        named = [await self._trim(subject, subscriptions) for subject, subscriptions in subjects.items()]
        for stream in await self._js.stream_names(all_subjects(self.key)):
            if stream not in named:
                await self._shorten(stream, None)

    async def _trim(self, subject: str, subscriptions: Collection[Subscription]) -> str:
        """Drop what all of *subscriptions* have passed; answers the stream."""
        stream = topic(self.key, subject).stream
        found = [await self._membership(subscription).current() for subscription in subscriptions]
        if all(progress is not None for progress in found):
            floors = [progress[0].floor for progress in found if progress]
            await self._shorten(stream, min(floors) if floors else None)
        return stream

    async def _make_room(self, subject: str) -> None:
        """An output found the topic full: drop at once what would be dropped at the next trimming."""
        if readers := self._readers.get(subject):
            await self._trim(subject, readers)

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
        self._streams.close()
        await self._connection.close()
