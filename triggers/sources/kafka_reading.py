"""One connection's turn at foreign topics: a consumer group of our own, of which we are the only member.

Whoever joins replaces the member before, at once, so a source that moved is never read twice for long. A partition's
records go to the bus in order, and what is committed there is what the bus has acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import msgspec

from eventbus.bus import Incoming
from eventbus.errors import AuthFailed, BusError, Fenced, Missing, SessionTaken, Unreachable
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.group import Committed, Group
from eventbus.kafka.marks import Marks
from eventbus.kafka.stream import Stream
from eventbus.kafka.wire import DENIED, EARLIEST, LATEST, Fault, Place
from triggers.sources.outlet import Outlet
from triggers.sources.storing import Brought

log = logging.getLogger(__name__)

WINDOW = 1024
"""Records on their way to the bus, at most, and as many as WINDOW_BYTES hold."""
WINDOW_BYTES = 8 << 20
BATCH = 256
RENEW = 1.5
"""Seconds between heartbeats."""
COMMIT = 0.5
"""Seconds between commits: what a kill makes us bring again, and the bus absorbs."""
AGAIN = 1.0
"""Seconds until a task is cancelled again: up to Python 3.11 asyncio.wait_for loses a cancellation that comes with its
result (python/cpython#86296)."""
NOBODY = Marks(0)


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What is read, and as whom."""

    topics: tuple[str, ...]
    group: str
    from_oldest: bool
    """Where a group that has read nothing begins."""


class Reading:
    """See the module; used once."""

    def __init__(self, cluster: Cluster, wanted: Wanted, outlet: Outlet, event: Callable[[Found], Brought]) -> None:
        """*event* makes that of one record."""
        self._cluster, self._wanted, self._outlet, self._event = cluster, wanted, outlet, event
        self._shares: dict[int, Place] = {}
        """Places by a number of our own."""
        self._group = Group(cluster, wanted.group)
        self._stream = Stream(cluster, self._admit, self._arrived, self._lost)
        self._brought: dict[tuple[int, int], Brought] = {}
        self._held = self._bytes = 0
        self._queues: dict[int, asyncio.Queue[Incoming]] = {}
        self._floors: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Read until cancelled; raises what ended it."""
        try:
            found = {topic: await self._partitions(topic) for topic in self._wanted.topics}
            await self._group.join(found)
            places = [(topic, partition) for topic, partitions in found.items() for partition in partitions]
            for place, floor in (await self._start(places)).items():
                self._read(place, floor)
            self._stream.start()
            self._request()
            self._spawn(self._keep())
            await self._ended
        except Fault as error:
            raise _named(error) from error
        except Fenced as error:
            raise SessionTaken(f"another member joined group {self._wanted.group}") from error
        finally:
            await self._stop()

    async def _partitions(self, topic: str) -> list[int]:
        found = await self._cluster.partitions(topic)
        if not found:
            raise Missing(f"{self._cluster.brokers} has no topic {topic}", hint="or the user may not see it")
        return found

    async def _start(self, places: Sequence[Place]) -> dict[Place, int]:
        """Where each partition goes on, committed before anything is read: a group that begins at new records does
        so once."""
        known = await self._group.committed()
        first = await self._cluster.offsets(dict.fromkeys(places, EARLIEST))
        last = await self._cluster.offsets(dict.fromkeys(places, LATEST))
        begun = {place[0] for place in places if place in known}
        floors = {}
        for place in places:
            oldest = self._wanted.from_oldest or place[0] in begun  # a partition that appeared since is new as a whole
            floor = known[place].floor if place in known else first[place] if oldest else last[place]
            if floor > last[place]:  # the topic was deleted and made again
                floor = first[place]
            if floor < first[place]:
                log.warning("%s-%s: records %s to %s are no longer stored", *place, floor, first[place] - 1)
            floors[place] = max(floor, first[place])
        await self._write(floors)
        return floors

    def _read(self, place: Place, floor: int) -> None:
        share = len(self._shares)
        self._shares[share] = place
        self._floors[share] = self._committed[share] = floor
        self._queues[share] = asyncio.Queue()
        self._spawn(self._carry(share))
        self._stream.add(place, share, floor)

    def _admit(self, share: int, found: Found) -> Incoming:
        one, seq = self._event(found), found.record.offset + 1
        self._brought[share, seq] = one
        return Incoming(share, seq, one.key, one.payload, found.record.timestamp)

    def _arrived(self, events: Sequence[Incoming]) -> None:
        for event in events:
            self._held, self._bytes = self._held + 1, self._bytes + len(event.payload)
            self._queues[event.share].put_nowait(event)
        self._request()

    def _request(self) -> None:
        """Ask for a batch more while there is room: what was asked for may come, however large it is."""
        if self._stream.wanted < BATCH // 2 and self._held < WINDOW and self._bytes < WINDOW_BYTES:
            self._stream.request(BATCH)

    async def _carry(self, share: int) -> None:
        """Bring what one partition has to the bus, in order, for ever."""
        queue = self._queues[share]
        while True:
            batch = [await queue.get()]
            while len(batch) < BATCH and not queue.empty():
                batch.append(queue.get_nowait())
            await self._outlet.store([self._brought.pop((event.share, event.seq)) for event in batch])
            self._floors[share] = batch[-1].seq
            self._held -= len(batch)
            self._bytes -= sum(len(event.payload) for event in batch)
            self._request()

    async def _keep(self) -> None:
        """Commit what the bus has, keep the membership, take new partitions in; for ever."""
        renew = time.monotonic() + RENEW
        while True:
            await asyncio.sleep(COMMIT)
            await self._commit()
            if time.monotonic() < renew:
                continue
            renew = time.monotonic() + RENEW
            await self._group.heartbeat()
            self._widen()

    def _widen(self) -> None:
        """Read partitions that appeared since."""
        known = set(self._shares.values())
        for topic in self._wanted.topics:
            for partition in self._cluster.known(topic):
                if (topic, partition) not in known:
                    self._read((topic, partition), 0)

    async def _commit(self) -> None:
        changed = {share: floor for share, floor in self._floors.items() if floor != self._committed.get(share)}
        if changed:
            await self._write({self._shares[share]: floor for share, floor in changed.items()})
            self._committed |= changed

    async def _write(self, floors: Mapping[Place, int]) -> None:
        await self._group.commit({place: Committed(floor, NOBODY) for place, floor in floors.items()})

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._over)

    def _over(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None and not self._ended.done():
            self._ended.set_exception(error)

    def _lost(self, reason: str) -> None:
        if not self._ended.done():
            self._ended.set_exception(Missing(reason))

    async def _stop(self) -> None:
        tasks = list(self._tasks)
        while tasks := [task for task in tasks if not task.done()]:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=AGAIN)
        if self._ended.done() and not self._ended.cancelled():
            self._ended.exception()
        with contextlib.suppress(BusError, TimeoutError):  # the next one starts where the last commit was
            async with asyncio.timeout(1.0):
                await self._commit()
        await self._stream.stop()
        self._cluster.leave_lane(self)


def _named(error: Fault) -> BusError:
    """What Kafka refused, by a reason of its own."""
    if error.number in DENIED:
        return AuthFailed(error.message, hint="check the rights of the user on topic and group")
    return Unreachable(error.message)
