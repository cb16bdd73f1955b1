"""Records of some partitions, each from its position on, as fast as they are asked for.

One fetch is under way per broker, for all partitions whose records are handed out; so a partition that is full of
events never waits for the long poll of one that is empty. At no credit one fetch may still be under way while somebody
sleeps on the bell: what it brings is held, and nothing more is fetched.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from eventbus.bus import Incoming
from eventbus.errors import BusError
from eventbus.kafka import batches, wire
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.wire import EARLIEST, LATEST, Fault, Place

log = logging.getLogger(__name__)

WAIT = 500
"""Milliseconds for which a broker holds a fetch that finds nothing."""
PARTITION_BYTES = 256 << 10
BYTES = 4 << 20
AGAIN = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Seconds between tries at a broker that does not answer; the last one repeats."""

Admit = Callable[[int, Found], Incoming | None]
"""The event of a record of a share; None: nothing is to be done for it."""


class Part:
    """One partition."""

    def __init__(self, place: Place, share: int, position: int) -> None:
        self.place, self.share = place, share
        self.fetched = position
        """Offset from which the next fetch goes on."""
        self.held: deque[Found] = deque()
        self.head: Incoming | None = None
        """The event of the first that is held, once it was looked at."""
        self.delivered = position
        """Highest sequence handed out, that is one above its offset."""

    @property
    def position(self) -> int:
        """Offset of the next record that was not handed out."""
        return self.held[0].record.offset if self.held else self.fetched


class Level(NamedTuple):
    pending: int
    ends: dict[Place, int]


class Stream:
    """See the module. *lost* runs once with the reason when a partition cannot be gone on with."""

    def __init__(
        self,
        cluster: Cluster,
        admit: Admit,
        deliver: Callable[[Sequence[Incoming]], None],
        lost: Callable[[str], None],
    ) -> None:
        self._cluster, self._admit, self._deliver, self._lost = cluster, admit, deliver, lost
        self.parts: dict[Place, Part] = {}
        self.wanted = 0
        self.bell: Callable[[], None] | None = None
        self._work = asyncio.Event()
        self._followers: dict[int, asyncio.Task[None]] = {}
        self._task: asyncio.Task[None] | None = None
        self._over = False

    @property
    def lane(self) -> object:
        """Connections of our own: a fetch that waits holds up whatever comes behind it."""
        return self

    def add(self, place: Place, share: int, position: int) -> None:
        if place not in self.parts:
            self.parts[place] = Part(place, share, position)
            self._stir()

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name="read Kafka")

    async def stop(self) -> None:
        self._over = True
        tasks = [task for task in (self._task, *self._followers.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._cluster.leave_lane(self.lane)

    def release(self) -> None:
        """Stop without waiting: the connections end."""
        self._over = True
        for task in (self._task, *self._followers.values()):
            if task is not None:
                task.cancel()

    def request(self, events: int) -> None:
        self.wanted += events
        if self.wanted > 0:
            if any(part.held for part in self.parts.values()):
                asyncio.get_running_loop().call_soon(self._hand_out)
            self._stir()

    def arm(self, bell: Callable[[], None] | None) -> None:
        self.bell = bell
        self._stir()

    async def level(self) -> Level:
        """What is stored behind the positions; raises BusError."""
        ends = await self._cluster.offsets(dict.fromkeys(self.parts, LATEST))
        return Level(sum(max(0, end - self.parts[place].position) for place, end in ends.items()), ends)

    def _stir(self) -> None:
        work, self._work = self._work, asyncio.Event()
        work.set()

    def _hand_out(self) -> None:
        """Deliver what is held as far as it is asked for; what needs nothing is passed over in any case."""
        if self._over:
            return
        events: list[Incoming] = []
        for part in self.parts.values():
            while part.held:
                event = part.head = part.head or self._admit(part.share, part.held[0])
                if event is not None:
                    if self.wanted <= 0:
                        break
                    self.wanted -= 1
                    part.delivered = event.seq
                    events.append(event)
                part.held.popleft()
                part.head = None
        if events:
            self._deliver(events)
        if self.wanted > 0 or self.bell:
            self._stir()

    async def _run(self) -> None:
        """Keep one follower for each broker that leads one of the partitions."""
        while not self._over:  # asked each time: asyncio.wait_for loses a cancellation that comes with its result
            work = self._work
            leaders = {self._cluster.leader(place) for place in self.parts}
            for node in leaders - {None}:
                assert node is not None
                task = self._followers.get(node)
                if task is None or task.done():
                    self._followers[node] = asyncio.get_running_loop().create_task(self._follow(node))
            if None in leaders:
                await self._refresh()
            try:
                async with asyncio.timeout(AGAIN[-1]):
                    await work.wait()
            except TimeoutError:
                pass

    async def _refresh(self) -> None:
        try:
            await self._cluster.refresh()
        except BusError as error:
            log.debug("metadata: %s", error)

    def _next(self, node: int) -> dict[Place, int]:
        """Positions to fetch from *node* now."""
        if self.wanted <= 0 and (self.bell is None or any(part.held for part in self.parts.values())):
            return {}
        mine = [part for part in self.parts.values() if self._cluster.leader(part.place) == node]
        return {part.place: part.fetched for part in mine if not part.held}

    async def _follow(self, node: int) -> None:
        tried = 0
        while not self._over and any(self._cluster.leader(place) == node for place in self.parts):
            work = self._work
            positions = self._next(node)
            if not positions:
                await work.wait()
                continue
            try:
                await self._fetch(node, positions)
                tried = 0
            except BusError as error:
                log.debug("fetch: %s", error)
                await asyncio.sleep(AGAIN[min(tried, len(AGAIN) - 1)])
                tried += 1
                await self._refresh()

    async def _fetch(self, node: int, positions: dict[Place, int]) -> None:
        request = wire.fetch(positions, wait=WAIT, per_partition=PARTITION_BYTES, whole=BYTES)
        answer = await self._cluster.call(node, request, self.lane)
        came, faults = False, []
        for answered in batches.parts(answer):
            part = self.parts[answered.place]
            if answered.error:
                faults.append((part, answered.error))
            elif answered.data:
                found, part.fetched = batches.read(answered, part.fetched)
                part.held.extend(found)
                came = came or bool(found)
        self._hand_out()
        if came and self.bell is not None:
            self.bell()
        for part, error in faults:
            await self._mend(part, error)

    async def _mend(self, part: Part, error: int) -> None:
        """Go on after an error of one partition; raises BusError so that the caller waits a moment."""
        topic, partition = part.place
        if error == wire.OFFSET_OUT_OF_RANGE:
            first = (await self._cluster.offsets({part.place: EARLIEST}))[part.place]
            if first < part.fetched:
                self._lost(f"topic {topic} was deleted and made again")
            else:
                log.warning("%s-%s: records %s to %s are no longer stored", topic, partition, part.fetched, first - 1)
                part.fetched = first
            return
        if error in wire.DENIED:
            self._lost(f"the user may not read topic {topic}")
        raise Fault(error, f"fetch of {topic}-{partition}")
