"""Publishing to Kafka: acknowledged by all in-sync replicas, idempotent, in the order of the calls.

One lane per partition, one batch of it under way; what is published meanwhile makes the next batch. A batch that was
not answered is sent again, the same bytes with the same sequence number, until it is acknowledged or its deadline is
over: the broker stores it once, and no later one before it. After a deadline nobody can tell, so the lane takes a new
producer id.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque

from eventbus.errors import AuthFailed, BusError, Refused, TooLarge, Unreachable
from eventbus.kafka import batches, wire
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.records import Stored
from eventbus.kafka.wire import Fault, Place

BATCH_BYTES = 512 << 10
"""Of one batch; a single larger record goes alone."""
BATCH_RECORDS = 2000
AGAIN = (0.02, 0.05, 0.1, 0.2, 0.5)
"""Seconds between tries; the last one repeats."""
OVERHEAD = 200
"""Bytes of a record beside its value, at most as a rule."""


class _Publish:
    __slots__ = ("alone", "answer", "deadline", "record", "timer", "trouble")

    def __init__(self, record: Stored, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        self.record, self.deadline = record, deadline
        self.alone, self.trouble = False, ""
        self.answer: asyncio.Future[None] = loop.create_future()
        self.timer = loop.call_later(deadline - time.monotonic(), self._expire)

    def _expire(self) -> None:
        why = f": {self.trouble}" if self.trouble else ""
        self.fail(Unreachable(f"Kafka did not acknowledge in time{why}", hint="publish again, same id"))

    def fail(self, error: BusError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class Lane:
    """Publishes to one partition."""

    def __init__(self, cluster: Cluster, place: Place, own: object) -> None:
        self._cluster, self._place, self._own = cluster, place, own
        self._waiting: deque[_Publish] = deque()
        self._task: asyncio.Task[None] | None = None
        self._producer: tuple[int, int] | None = None
        self._sequence = 0

    def put(self, publish: _Publish) -> None:
        self._waiting.append(publish)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run(), name=f"publish to {self._place[0]}")

    def stop(self, reason: str) -> None:
        if self._task is not None:
            self._task.cancel()
        for publish in self._waiting:
            publish.fail(Unreachable(reason))

    async def _run(self) -> None:
        while self._waiting:
            group = self._next()
            if group:
                try:
                    await self._store(group)
                except asyncio.CancelledError:
                    for publish in group:
                        publish.fail(Unreachable("the bus was closed"))
                    raise

    def _next(self) -> list[_Publish]:
        """The next batch, without what expired while it waited."""
        group: list[_Publish] = []
        size = 0
        while self._waiting and len(group) < BATCH_RECORDS:
            publish = self._waiting[0]
            if publish.answer.done():
                self._waiting.popleft()
                continue
            size += len(publish.record.value or b"") + OVERHEAD
            if group and (size > BATCH_BYTES or publish.alone or group[0].alone):
                break
            group.append(self._waiting.popleft())
        return group

    async def _store(self, group: list[_Publish]) -> None:
        """Send one batch until it is answered, refused, or nobody waits for it."""
        tried, batch = 0, b""
        while any(not publish.answer.done() for publish in group):
            try:
                if self._producer is None:
                    self._producer, self._sequence, batch = await self._identity(), 0, b""
                batch = batch or batches.batch([one.record for one in group], self._producer, self._sequence)
                number = await self._send(batch, max(one.deadline for one in group))
            except AuthFailed as error:
                return self._fail(group, error)
            except BusError as error:
                number, trouble = -1, error
            else:
                trouble = Fault(number, f"publish to {self._place[0]}")
            if number in {0, wire.DUPLICATE}:
                self._sequence = (self._sequence + len(group)) & 0x7FFFFFFF
                for publish in group:
                    if not publish.answer.done():
                        publish.answer.set_result(None)
                return None
            if number in wire.SEQUENCE_LOST:
                self._producer = None
            elif number >= 0 and number not in wire.RETRIABLE:
                return self._refuse(group, trouble, number)
            for publish in group:
                publish.trouble = str(trouble)
            await asyncio.sleep(AGAIN[min(tried, len(AGAIN) - 1)])
            tried += 1
            await self._refresh()
        self._producer = None  # stored or not, and so the sequence that comes next is unknown
        return None

    async def _identity(self) -> tuple[int, int]:
        answer = await self._cluster.call(None, wire.producer_id())
        wire.check(answer.error_code, "a producer id")
        return answer.producer_id, answer.producer_epoch

    async def _send(self, batch: bytes, deadline: float) -> int:
        node = self._cluster.leader(self._place)
        if node is None:
            raise Unreachable(f"partition {self._place[0]}-{self._place[1]} has no leader now")
        timeout = int(1000 * max(0.1, deadline - time.monotonic()))
        answer = await self._cluster.call(node, wire.produce(self._place, batch, timeout), self._own)
        number: int = answer.topics[0][1][0][1]
        return number

    async def _refresh(self) -> None:
        with contextlib.suppress(BusError):  # the next try tells
            await self._cluster.refresh()

    def _refuse(self, group: list[_Publish], trouble: BusError, number: int) -> None:
        """Nothing of the batch is stored; of several that are too large together each goes alone."""
        if number in wire.TOO_LARGE and len(group) > 1:
            for publish in reversed(group):
                publish.alone = True
                self._waiting.appendleft(publish)
            return
        error: BusError
        if number in wire.TOO_LARGE:
            error = TooLarge(f"the event is larger than topic {self._place[0]} takes", hint="see max.message.bytes")
        elif number in wire.DENIED:
            error = AuthFailed(f"the user may not publish to {self._place[0]}")
        else:
            error = Refused(str(trouble))
        self._fail(group, error)

    @staticmethod
    def _fail(group: list[_Publish], error: BusError) -> None:
        for publish in group:
            publish.fail(error)


class Publisher:
    """All publishes of one connection."""

    def __init__(self, cluster: Cluster, deadline: float) -> None:
        self._cluster, self._deadline = cluster, deadline
        self._lanes: dict[Place, Lane] = {}

    async def publish(self, place: Place, record: Stored, deadline: float = 0.0) -> None:
        """Store one record; *deadline* in monotonic seconds, else the publisher's own from now."""
        lane = self._lanes.get(place)
        if lane is None:
            lane = self._lanes[place] = Lane(self._cluster, place, self)
        publish = _Publish(record, deadline or time.monotonic() + self._deadline)
        lane.put(publish)
        try:
            await publish.answer
        finally:
            publish.timer.cancel()

    def stop(self, reason: str) -> None:
        """Answer everything that waits; nobody will."""
        for lane in self._lanes.values():
            lane.stop(reason)
        self._cluster.leave_lane(self)
