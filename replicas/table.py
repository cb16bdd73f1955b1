"""Which replicas of a revision are ready and how much each may still take from this agent.

Credit is counted per agent: two agents may together offer a replica more than it takes, and it then answers
"not started". All methods run on the event loop; nothing here does I/O.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from api.frames import Endpoint, Endpoints
from api.meta import RevisionKey

Changed = Callable[[RevisionKey], None]

STRIKE = 1.0
"""Seconds for which a replica that refused a connection is left alone."""
RESERVED = 1.0
"""Seconds for which a replica that is to be seized once it is idle gets nothing new."""


class Lease:
    """Credit for *count* units of work on one replica, until release()."""

    __slots__ = ("_table", "count", "endpoint", "revision")

    def __init__(self, table: ReplicaTable, revision: RevisionKey, endpoint: Endpoint, count: int) -> None:
        self._table: ReplicaTable | None = table
        self.revision = revision
        self.endpoint = endpoint
        self.count = count

    @property
    def whole(self) -> bool:
        """Nothing else of this agent runs on the replica."""
        return self.count >= self.endpoint.credit

    def release(self) -> None:
        """Give the credit back; a second call does nothing."""
        if self._table is not None:
            table, self._table = self._table, None
            table._release(self)


class _Revision:
    __slots__ = ("closing", "endpoints", "stamp", "waiters")

    def __init__(self) -> None:
        self.stamp = (0, 0)  # epoch, generation
        self.endpoints: dict[str, Endpoint] = {}
        self.closing: set[str] = set()
        self.waiters: deque[asyncio.Future[Lease | None]] = deque()


class ReplicaTable:
    """The replicas one agent may use."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._revisions: dict[RevisionKey, _Revision] = {}
        self._in_flight: dict[str, int] = {}
        self._struck: dict[str, float] = {}
        self._reserved: dict[str, float] = {}
        self._turn: dict[str, int] = {}
        self._turns = 0
        self._drained: dict[str, list[asyncio.Future[None]]] = {}
        self._callbacks: list[Changed] = []

    def update(self, endpoints: Endpoints) -> bool:
        """Take the endpoints of a revision; False: they are older than what is known.

        A replica that is no longer listed is not picked any more; what is in flight there stays counted.
        """
        known = self._revisions.setdefault(endpoints.revision, _Revision())
        stamp = (endpoints.epoch, endpoints.generation)
        if stamp < known.stamp:
            return False
        known.stamp = stamp
        for endpoint in endpoints.endpoints:
            if known.endpoints.get(endpoint.replica) != endpoint:
                self._struck.pop(endpoint.replica, None)
        gone = known.endpoints.keys() - {endpoint.replica for endpoint in endpoints.endpoints}
        for replica in gone:
            for marks in (self._turn, self._struck, self._reserved):
                marks.pop(replica, None)
        known.endpoints = {endpoint.replica: endpoint for endpoint in endpoints.endpoints}
        known.closing.clear()  # the controller lists no replica that is being closed
        self._changed(endpoints.revision)
        return True

    def pick(self, revision: RevisionKey, count: int = 1) -> Lease | None:
        """Lease up to *count* units (``lease.count`` says how many) on the replica with most free credit; ties take
        turns. None: nothing is free."""
        known = self._revisions.get(revision)
        if known is None:
            return None
        best: Endpoint | None = None
        rank = (0, 0)
        for endpoint in known.endpoints.values():
            free = 0 if endpoint.replica in self._reserved else self._credit(known, endpoint)
            if free > 0 and (best is None or (free, -self._turn.get(endpoint.replica, 0)) > rank):
                best, rank = endpoint, (free, -self._turn.get(endpoint.replica, 0))
        if best is None:
            return None
        return self._lease(revision, best, min(count, rank[0]))

    def seize(self, revision: RevisionKey) -> Lease | None:
        """Lease an idle replica whole, so that its end has one cause; None: all are busy, and the least busy one gets
        nothing new for a moment. Call again when credit comes free."""
        known = self._revisions.get(revision)
        usable = [one for one in known.endpoints.values() if self._usable(known, one.replica)] if known else []
        if not usable:
            return None
        least = min(usable, key=lambda one: self.in_flight(one.replica))
        if self.in_flight(least.replica):
            until = self._reserved[least.replica] = self._clock() + RESERVED
            asyncio.get_running_loop().call_later(RESERVED, self._forgive, self._reserved, least.replica, until)
            return None
        self._reserved.pop(least.replica, None)
        return self._lease(revision, least, least.credit)

    def _lease(self, revision: RevisionKey, endpoint: Endpoint, count: int) -> Lease:
        self._turns += 1
        self._turn[endpoint.replica] = self._turns
        self._in_flight[endpoint.replica] = self.in_flight(endpoint.replica) + count
        return Lease(self, revision, endpoint, count)

    def take(self, revision: RevisionKey) -> Lease | None:
        """Pick one unit unless somebody waits already; None: acquire() it."""
        known = self._revisions.get(revision)
        return None if known is None or any(not waiter.done() for waiter in known.waiters) else self.pick(revision)

    def dismiss(self, revision: RevisionKey) -> None:
        """Let everybody who waits for *revision* go without: it is not served any more."""
        if known := self._revisions.get(revision):
            while known.waiters:
                waiter = known.waiters.popleft()
                if not waiter.done():
                    waiter.set_result(None)

    async def acquire(self, revision: RevisionKey, timeout: float | None) -> Lease | None:  # noqa: ASYNC109 - running out of time is an answer
        """Pick, first come first served, waiting at most *timeout* seconds; None: nothing came free, or dismiss()."""
        known = self._revisions.setdefault(revision, _Revision())
        if lease := self.take(revision):
            return lease
        waiter: asyncio.Future[Lease | None] = asyncio.get_running_loop().create_future()
        known.waiters.append(waiter)
        try:
            async with asyncio.timeout(timeout):
                return await waiter
        except (TimeoutError, asyncio.CancelledError) as error:
            if waiter.done() and not waiter.cancelled() and (late := waiter.result()):
                late.release()  # it was handed over while we gave up
            elif waiter in known.waiters:
                known.waiters.remove(waiter)
            if isinstance(error, TimeoutError):
                return None
            raise

    async def wait(self, revision: RevisionKey, timeout: float | None) -> bool:  # noqa: ASYNC109 - as in acquire()
        """Whether a replica of *revision* has free credit within *timeout* seconds."""
        lease = await self.acquire(revision, timeout)
        if lease is not None:
            lease.release()
        return lease is not None

    def free(self, revision: RevisionKey) -> int:
        """Units of work that the replicas of *revision* would take from us now."""
        known = self._revisions.get(revision)
        if known is None:
            return 0
        return sum(max(self._credit(known, endpoint), 0) for endpoint in known.endpoints.values())

    def ready(self, revision: RevisionKey) -> tuple[Endpoint, ...]:
        """Replicas that may be used: listed, not closing, not struck a moment ago; busy ones among them."""
        known = self._revisions.get(revision)
        if known is None:
            return ()
        return tuple(endpoint for endpoint in known.endpoints.values() if self._usable(known, endpoint.replica))

    def knows(self, replica: str) -> bool:
        """Whether the controller lists *replica*, closing or not."""
        return any(replica in known.endpoints for known in self._revisions.values())

    def listed(self, revision: RevisionKey) -> bool:
        """Whether the controller lists a replica of *revision* that is not closing; one that rests a moment counts."""
        known = self._revisions.get(revision)
        return known is not None and bool(known.endpoints.keys() - known.closing)

    def in_flight(self, replica: str) -> int:
        return self._in_flight.get(replica, 0)

    def used(self) -> Mapping[str, int]:
        """Replica -> units in flight from this agent, where any are (``Readings.used``)."""
        return dict(self._in_flight)

    def generation(self, revision: RevisionKey) -> int:
        known = self._revisions.get(revision)
        return known.stamp[1] if known else 0

    def strike(self, replica: str, seconds: float = STRIKE) -> None:
        """Leave *replica* alone for a while: it refused a connection or said it has no room."""
        until = self._struck[replica] = self._clock() + seconds
        asyncio.get_running_loop().call_later(seconds, self._forgive, self._struck, replica, until)

    def closing(self, replicas: Collection[str]) -> None:
        """Hand these out no more; what is in flight goes on."""
        for known in self._revisions.values():
            known.closing |= known.endpoints.keys() & set(replicas)

    def reopen(self, revision: RevisionKey) -> None:
        """A Close was called off: its replicas may be used again."""
        if known := self._revisions.get(revision):
            known.closing.clear()
            self._changed(revision)

    def remove(self, replicas: Collection[str]) -> None:
        """Forget these replicas; Endpoints of a higher generation may bring them back."""
        gone = set(replicas)
        for revision, known in list(self._revisions.items()):
            if known.endpoints.keys() & gone:
                known.endpoints = {key: value for key, value in known.endpoints.items() if key not in gone}
                known.closing -= gone
                self._changed(revision)

    async def drained(self, replicas: Collection[str]) -> None:
        """Return once nothing of this agent is in flight on any of *replicas*."""
        for replica in replicas:
            while self._in_flight.get(replica):
                future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._drained.setdefault(replica, []).append(future)
                await future

    def subscribe(self, callback: Changed) -> None:
        """Call *callback* with the revision after every change of its endpoints and every credit that came free."""
        self._callbacks.append(callback)

    def _forgive(self, marks: dict[str, float], replica: str, until: float) -> None:
        """End the mark that was to last *until*; never by the clock, for the loop's timers may be a little early."""
        if marks.get(replica) != until:
            return  # marked again, or forgiven with new endpoints
        del marks[replica]
        for revision in [key for key, known in self._revisions.items() if replica in known.endpoints]:
            self._changed(revision)

    def _usable(self, known: _Revision, replica: str) -> bool:
        return replica not in known.closing and self._struck.get(replica, 0.0) <= self._clock()

    def _credit(self, known: _Revision, endpoint: Endpoint) -> int:
        if not self._usable(known, endpoint.replica):
            return 0
        return endpoint.credit - self._in_flight.get(endpoint.replica, 0)

    def _release(self, lease: Lease) -> None:
        replica = lease.endpoint.replica
        left = self._in_flight[replica] - lease.count
        if left:
            self._in_flight[replica] = left
        else:
            del self._in_flight[replica]
            for future in self._drained.pop(replica, ()):
                if not future.done():
                    future.set_result(None)
        self._changed(lease.revision)

    def _changed(self, revision: RevisionKey) -> None:
        known = self._revisions[revision]
        while known.waiters:
            if known.waiters[0].done():
                known.waiters.popleft()
                continue
            lease = self.pick(revision)
            if lease is None:
                break
            known.waiters.popleft().set_result(lease)
        for callback in self._callbacks:
            callback(revision)
