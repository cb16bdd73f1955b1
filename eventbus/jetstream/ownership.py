"""Who owns a subscription on JetStream: one compare-and-set key whose revision is the epoch, one consumer per epoch.

A takeover writes the key, reads the old consumer's ack floor, creates the next consumer behind it and deletes the old
one; only then may the new owner deliver. A stale owner's pulls then find nothing and its acks go nowhere. What nobody
may trust is a consumer's name from a takeover that died half-way, so the key carries the epochs whose consumers may
still exist.
"""

from __future__ import annotations

import time
from typing import Any

import msgspec

from api.model import Subscription
from eventbus import progress, subjects
from eventbus.bus import Attempt
from eventbus.errors import Fenced
from eventbus.jetstream.api import NANOSECONDS, WRONG_LAST, ApiError, Bucket, ConsumerInfo, JetStream
from eventbus.progress import Mark
from eventbus.start import floor

MAX_ACK_PENDING = 20_000
"""Largest span above the floor, done events included."""
ACK_WAIT = 24 * 3600 * NANOSECONDS
"""Redelivery is ours: takeover and recovery make a new consumer, so the broker's timer must never come first."""
LIVE_TTL = 6.0
"""Seconds after which an owner that stopped renewing is no longer listed as alive."""


class Owner(msgspec.Struct, frozen=True):
    """Value of an owner key."""

    worker: str
    before: tuple[int, ...] = ()
    """Epochs whose consumers may still exist."""


class Records:
    """The buckets that outlive consumers, shared by all subscriptions of one connection."""

    def __init__(self, js: JetStream) -> None:
        self.js = js
        self.owners = Bucket(js, "evk-owner")
        self.live = Bucket(js, "evk-live")
        self.windows = Bucket(js, "evk-window")
        self.attempts = Bucket(js, "evk-attempts")

    async def ensure(self) -> None:
        await self.owners.ensure()
        await self.live.ensure(ttl=LIVE_TTL, memory=True)
        await self.windows.ensure()
        await self.attempts.ensure()


class Claim(msgspec.Struct, frozen=True):
    """What a takeover found."""

    epoch: int
    mark: Mark
    attempts: dict[int, Attempt]
    window: int
    """Revision of the recorded window: only its writer may write over it."""


class Membership:
    """One subscription's names and its takeover."""

    def __init__(self, records: Records, topic: subjects.Topic, subscription: Subscription, start: str = "new") -> None:
        """*start*: where the bus lets those begin that did not ask for all (see start.py)."""
        self.records, self.topic, self.subscription = records, topic, subscription
        self._start = "all" if subscription.start == "all" else start
        self.member = subjects.member_of(subscription)
        self.key = f"{topic.bus}.{topic.topic}.{self.member}"
        self._js = records.js

    def consumer(self, epoch: int) -> str:
        return f"{self.member}-{epoch}"

    @property
    def filters(self) -> list[str]:
        return [self.topic.events, self.topic.replay(self.member)]

    async def owner(self) -> tuple[Owner | None, int]:
        """The owner key and its revision, which is the epoch; 0 when nobody ever owned it."""
        found = await self.records.owners.get(self.key)
        return (msgspec.json.decode(found.data, type=Owner), found.seq) if found else (None, 0)

    async def take(self, worker: str) -> Claim:
        """Become the owner; raises Fenced when somebody else did at the same moment."""
        epoch, before = await self._claim(worker)
        mark = await self._mark(before)
        attempts = await self._attempts(mark)
        await self.create_consumer(epoch, mark.floor)
        _, current = await self.owner()
        if current != epoch:
            await self._js.delete_consumer(self.topic.stream, self.consumer(epoch))
            raise Fenced(f"another owner took {self.subscription.key} over")
        for old in before:
            await self._js.delete_consumer(self.topic.stream, self.consumer(old))
        return Claim(epoch, mark, attempts, await self.save_window(mark))

    async def _claim(self, worker: str) -> tuple[int, tuple[int, ...]]:
        for _ in range(5):
            owner, revision = await self.owner()
            old = [epoch for epoch in (owner.before if owner else ()) if await self._info(epoch) is not None]
            before = (*old, revision) if revision else tuple(old)
            value = msgspec.json.encode(Owner(worker, before))
            try:
                return await self.records.owners.put(self.key, value, expected=revision), before
            except ApiError as error:
                if error.number != WRONG_LAST:
                    raise
        raise Fenced(f"others keep taking {self.subscription.key} over")

    async def _info(self, epoch: int) -> ConsumerInfo | None:
        return await self._js.consumer_info(self.topic.stream, self.consumer(epoch))

    async def _mark(self, before: tuple[int, ...]) -> Mark:
        """Progress so far, else where the start policy says."""
        marks = [Mark(info.ack_floor.stream_seq) for epoch in before if (info := await self._info(epoch))]
        window = await self.window()
        if window is not None:
            marks.append(window)
        if marks:
            return progress.highest(marks)
        return Mark(await floor(self._js, self.topic.stream, self._start, time.time()))

    async def window(self) -> Mark | None:
        """The recorded floor and done map."""
        found = await self.records.windows.get(self.key)
        return progress.decode(found.data) if found else None

    async def window_revision(self) -> int:
        found = await self.records.windows.get(self.key)
        return found.seq if found else 0

    async def save_window(self, mark: Mark, expected: int | None = None) -> int:
        """Record progress, answer its revision; with *expected* only over that one."""
        return await self.records.windows.put(self.key, mark.encode(), expected=expected)

    async def current(self) -> tuple[Mark, ConsumerInfo | None] | None:
        """Progress without owning anything, with the live consumer; None when it was never opened."""
        owner, revision = await self.owner()
        marks, live = [], None
        for epoch in (*(owner.before if owner else ()), *((revision,) if revision else ())):
            info = await self._info(epoch)
            if info is not None:
                live = info
                marks.append(Mark(info.ack_floor.stream_seq))
        window = await self.window()
        if window is not None:
            marks.append(window)
        return (progress.highest(marks), live) if marks else None

    async def create_consumer(self, epoch: int, floor: int) -> None:
        config: dict[str, Any] = {
            "name": self.consumer(epoch),
            "durable_name": self.consumer(epoch),
            "filter_subjects": self.filters,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": floor + 1,
            "ack_policy": "all",
            "ack_wait": ACK_WAIT,
            "max_deliver": -1,
            "max_ack_pending": MAX_ACK_PENDING,
            "replay_policy": "instant",
        }
        await self._js.create_consumer(self.topic.stream, config)

    async def _attempts(self, mark: Mark) -> dict[int, Attempt]:
        """Failed attempts of what is not done; records of what is done are deleted."""
        found: dict[int, Attempt] = {}
        for key in await self.records.attempts.keys(f"{self.key}.*"):
            seq = int(key.rpartition(".")[2])
            if seq <= mark.floor or seq in mark.done:
                await self.records.attempts.delete(key)
            elif stored := await self.records.attempts.get(key):
                found[seq] = msgspec.json.decode(stored.data, type=Attempt)
        return found

    async def forget(self) -> None:
        """Delete consumers, attempts, owner; progress too unless the subscription is to be resumed."""
        known = await self.current()
        if self.subscription.start == "resume" and known is not None:
            await self.save_window(known[0])
        else:
            await self.records.windows.delete(self.key)
        owner, revision = await self.owner()
        await self.records.owners.delete(self.key)
        for epoch in (*(owner.before if owner else ()), *((revision,) if revision else ())):
            await self._js.delete_consumer(self.topic.stream, self.consumer(epoch))
        await self.records.attempts.delete(f"{self.key}.*")
        await self.records.live.delete(self.key)
