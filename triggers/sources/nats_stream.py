"""One JetStream stream read behind a durable consumer of ours, acknowledged message by message.

Owned by epoch, as the bus's consumers are: who takes over makes the next consumer behind the last one's ack floor and
deletes that one, so redelivery never waits for a timer and comes in order. Creating a name that exists fails, which is
the compare-and-set. A stream that keeps only what somebody waits for (retention "interest") loses nothing, because the
old consumer goes last; a work queue has no second consumer, so there the old one goes first and what it had not
acknowledged is still in the queue.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec

from eventbus.errors import BusError, Fenced
from eventbus.jetstream import deliveries
from eventbus.jetstream.api import NANOSECONDS, ApiError, JetStream
from eventbus.jetstream.connection import Listening, Message

WINDOW = 1000
"""Messages that may be unacknowledged."""
MAX_HELD_BYTES, PULL_BYTES = 32 << 20, 16 << 20
"""Of messages that are unacknowledged, and of one pull, or as much as one message of the server may have."""
ACK_WAIT = 24 * 3600
"""Seconds; redelivery is ours, so the broker's timer must never come first."""
EXPIRES, HEARTBEAT, SILENCE = 30.0, 5.0, 12.0
CHECK_EVERY = 1.0
REMEMBERED = 8192
EXISTS = frozenset({10013, 10148})
"""err_codes of a consumer name that is taken."""
DUE = "evoke.first"
"""Metadata of a consumer whose owner has not yet finished what only the first one does."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What to read, and under which name progress is kept."""

    stream: str
    """Empty: the one that has the first of *filters*."""
    filters: tuple[str, ...]
    name: str
    """Stem of the consumers' names: letters, digits, ``-``, ``_`` and ``=``."""
    start: str = "new"
    """Where to begin that nothing was read of: ``all``, ``new``, ``last``, ``sequence:N`` or ``time:SECONDS``."""
    forget_after: float = 0.0
    """Seconds without a reader after which the broker drops the consumer; 0: never."""
    first: bool = False
    """Whether there is something that only the first owner does."""


class Stored(msgspec.Struct, frozen=True):
    """One message of the stream."""

    seq: int
    nanoseconds: int
    """When it was stored; with *seq* its identity, even where a stream was deleted and made again."""
    subject: str
    data: bytes
    headers: dict[str, str]

    @property
    def id(self) -> str:
        return f"{self.seq}-{self.nanoseconds}"


class _Config(msgspec.Struct):
    metadata: dict[str, str] = {}


class _Floor(msgspec.Struct):
    stream_seq: int = 0


class _Consumer(msgspec.Struct):
    ack_floor: _Floor
    config: _Config


class _Retention(msgspec.Struct):
    retention: str = "limits"


class _Stream(msgspec.Struct):
    config: _Retention
    created: str = ""


class _Names(msgspec.Struct):
    consumers: list[str] | None = None
    total: int = 0


class Reader:
    """*arrived* gets each message once; call acknowledge() when it is on the bus."""

    def __init__(self, js: JetStream, place: Place, arrived: Callable[[Stored], None]) -> None:
        self._js, self._place, self._arrived = js, place, arrived
        self._stream = place.stream
        self._epoch = 0
        self._replies: dict[str, str] = {}
        """Held messages by id, with where their acknowledgement goes."""
        self._bytes = 0
        """Of them."""
        self._done: OrderedDict[str, None] = OrderedDict()
        """Ids of the last that were acknowledged: an acknowledgement may be lost with its connection."""
        self._armed = 0
        self._heard = 0.0
        self._last, self._created = 0, ""
        """Highest sequence received, of the stream that was created then."""
        self._acks: list[str] = []
        self._stir = asyncio.Event()
        self._broken = False
        self._finished = not place.first
        self.first = False
        """What only the first owner does is still to be done; see finished()."""
        js.connection.on_up.append(self._reconnected)

    async def _reconnected(self) -> None:
        self._break()

    def _break(self) -> None:
        self._broken = True
        self._stir.set()

    async def take(self) -> None:
        """Become the owner; raises Fenced when somebody else did meanwhile, BusError while the broker is away."""
        if not self._stream:
            self._stream = await self._js.stream_of(self._place.filters[0])
        stream, epochs = self._stream, await self._epochs()
        if self._epoch and epochs and epochs[-1] > self._epoch:
            raise Fenced(f"another proxy reads {stream}")
        known = [await self._info(epoch) for epoch in epochs]
        self.first = not self._finished and all(DUE in one.config.metadata for one in known)
        found = msgspec.json.decode(await self._js.call(f"STREAM.INFO.{stream}"), type=_Stream)
        start = self._start([one.ack_floor.stream_seq for one in known], found)
        self._created = found.created
        if found.config.retention == "workqueue":
            await self._delete(epochs)
            start = {"deliver_policy": "all"}
        epoch = max([*epochs, self._epoch]) + 1
        try:
            await self._js.create_consumer(stream, self._consumer(epoch, start))
        except ApiError as error:
            if error.number in EXISTS:
                raise Fenced(f"another proxy reads {stream}") from error
            raise
        self._epoch = epoch
        await self._delete(epochs)

    def _start(self, floors: list[int], stream: _Stream) -> dict[str, Any]:
        """Behind what is done. A consumer that somebody deleted leaves what we remember ourselves; all that is in a
        stream which was made anew is new."""
        if floors:
            return {"deliver_policy": "by_start_sequence", "opt_start_seq": max(floors) + 1}
        if not self._epoch:
            return _first(self._place.start)
        if stream.created != self._created or not self._last:
            return {"deliver_policy": "all"}
        held = [int(one.partition("-")[0]) for one in self._replies]
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": min([self._last + 1, *held])}

    def _consumer(self, epoch: int, start: dict[str, Any]) -> dict[str, Any]:
        name, forget = f"{self._place.name}-{epoch}", self._place.forget_after
        return {
            "name": name,
            "durable_name": name,
            "filter_subjects": list(self._place.filters),
            "ack_policy": "explicit",
            "ack_wait": ACK_WAIT * NANOSECONDS,
            "max_deliver": -1,
            "max_ack_pending": WINDOW,
            "replay_policy": "instant",
            "metadata": {"evoke.owner": uuid.uuid4().hex, **({DUE: "due"} if self.first else {})},
            **start,
            **({"inactive_threshold": int(forget * NANOSECONDS)} if forget else {}),
        }

    def finished(self) -> None:
        """What only the first owner does is done; the consumer is made anew, without the mark."""
        self._finished = True
        self._break()

    async def _epochs(self) -> list[int]:
        found: list[int] = []
        stem, offset = f"{self._place.name}-", 0
        while True:
            reply = await self._js.call(f"CONSUMER.NAMES.{self._stream}", {"offset": offset})
            page = msgspec.json.decode(reply, type=_Names)
            names = page.consumers or []
            found += [int(rest) for name in names if name.startswith(stem) and (rest := name[len(stem) :]).isdecimal()]
            offset += len(names)
            if not names or offset >= page.total:
                return sorted(found)

    async def _info(self, epoch: int) -> _Consumer:
        reply = await self._js.call(f"CONSUMER.INFO.{self._stream}.{self._place.name}-{epoch}")
        return msgspec.json.decode(reply, type=_Consumer)

    async def _delete(self, epochs: list[int]) -> None:
        for epoch in epochs:
            await self._js.delete_consumer(self._stream, f"{self._place.name}-{epoch}")

    async def read(self) -> None:
        """Hand messages over until the consumer has to be made anew; take() came first."""
        connection = self._js.connection
        self._broken, self._armed = False, 0
        self._acks.clear()  # those of a consumer that is gone; what they were for comes again
        inbox = connection.inbox()
        listening: Listening = await connection.listen(inbox, self._received)
        try:
            while not self._broken:
                self._stir.clear()
                await self._send_acks()
                await self._pull(inbox)
                with suppress(TimeoutError):
                    async with asyncio.timeout(CHECK_EVERY):
                        await self._stir.wait()
                if self._armed and time.monotonic() - self._heard > SILENCE:
                    return
        finally:
            with suppress(BusError):
                await self._send_acks()
            await listening.stop()

    async def _send_acks(self) -> None:
        """Without an answer: an acknowledgement that is lost costs a message that comes again and is known."""
        replies, self._acks = self._acks, []
        for reply in replies:
            await self._js.connection.send(reply, b"")

    async def _pull(self, inbox: str) -> None:
        batch = WINDOW - len(self._replies) - self._armed
        if batch < WINDOW // 4 or self._bytes > MAX_HELD_BYTES - PULL_BYTES:
            return
        self._armed += batch
        self._heard = time.monotonic()
        size = max(PULL_BYTES, 2 * self._js.connection.max_payload)
        pull = deliveries.request(batch, expires=EXPIRES, heartbeat=HEARTBEAT, max_bytes=size)
        target = deliveries.target(self._stream, f"{self._place.name}-{self._epoch}", self._js.api)
        await self._js.connection.send(target, pull, inbox)

    def _received(self, message: Message) -> None:
        self._heard = time.monotonic()
        place = deliveries.delivered(message)
        if place is None:
            self._control(message)
            return
        self._armed -= 1
        stored = Stored(place.seq, place.nanoseconds, message.subject, message.data, message.headers or {})
        self._last = max(self._last, stored.seq)
        if stored.id in self._done:
            self._acks.append(message.reply)
            self._stir.set()
            return
        again = stored.id in self._replies
        self._replies[stored.id] = message.reply
        if not again:
            self._bytes += len(stored.data)
            self._arrived(stored)

    def _control(self, message: Message) -> None:
        """A pull ended: with what it left undelivered where it ran out, without where the consumer is gone."""
        end = deliveries.ended(message)
        if end.heartbeat:
            return
        if end.left is None:
            self._break()
            return
        self._armed = max(0, self._armed - end.left)
        self._stir.set()

    def acknowledge(self, stored: Stored) -> None:
        """The message is on the bus."""
        reply = self._replies.pop(stored.id, "")
        self._bytes -= len(stored.data) if reply else 0
        self._done[stored.id] = None
        if len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        if reply:
            self._acks.append(reply)
            self._stir.set()


def _first(start: str) -> dict[str, Any]:
    """Where a consumer begins, of a subject that nothing was read of."""
    what, _, number = start.partition(":")
    if what == "sequence":
        return {"deliver_policy": "by_start_sequence", "opt_start_seq": int(number)}
    if what == "time":
        at = datetime.fromtimestamp(float(number), UTC).isoformat()
        return {"deliver_policy": "by_start_time", "opt_start_time": at}
    return {"deliver_policy": what}
