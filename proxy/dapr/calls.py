"""Calls on their way to functions: who waits for a replica, who runs, and what the autoscaler sees of both.

The same promises as the gateway's: a call wakes a function that sleeps, waits in a queue of bounded length, and is
counted until its last byte.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

from api.frames import Frame, Notice, RouteReading, Want
from api.meta import Key, RevisionKey
from api.model import App
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError, busy
from replicas.backends import choose
from replicas.table import Lease, ReplicaTable
from replicas.traffic import RevisionTraffic

HOLD = 60.0
"""Seconds for which a call waits for a replica."""
MOST = 2000
"""Calls of one function that run and wait at this proxy."""


class Reached:
    """A replica that a call may go to; say ``failed`` or ``started = False`` where it is so."""

    __slots__ = ("failed", "lease", "started")

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.failed = False
        self.started = True


class Calls:
    """All calls of this proxy to functions."""

    def __init__(
        self,
        directory: Directory,
        table: ReplicaTable,
        send: Callable[[Frame], object],
        touch: Callable[[], None],
        *,
        draw: Callable[[], float] = random.random,
        hold: float = HOLD,
    ) -> None:
        """*send* takes a Want, *touch* says that readings have changed."""
        self._directory, self._table, self._send, self._touch = directory, table, send, touch
        self._draw, self._hold = draw, hold
        self._seen: dict[RevisionKey, RevisionTraffic] = {}
        self._active: dict[Key, int] = {}
        self._activating: set[RevisionKey] = set()
        table.subscribe(self._on_table)

    @asynccontextmanager
    async def reach(self, app: App, *, first: bool = True) -> AsyncIterator[Reached]:
        """Credit on a replica of *app*, waiting for one and waking it as needed; raises DaprError.

        *first*: not a second try of the same call.
        """
        with self._counted(app):
            lease = await self._lease(app, first=first)
            seen = self._of(lease.revision)
            reached = Reached(lease)
            began = time.perf_counter()
            seen.in_flight += 1
            if seen.in_flight == 1:
                self._touch()
            try:
                yield reached
            except BaseException:
                reached.failed = True
                raise
            finally:
                lease.release()
                seen.in_flight -= 1
                if reached.started:
                    seen.finish(time.perf_counter() - began, failed=reached.failed)
                if not seen.in_flight:
                    self._touch()

    def strike(self, reached: Reached, seconds: float = 1.0) -> None:
        """The replica refused: leave it alone for a while."""
        reached.started = False
        self._table.strike(reached.lease.endpoint.replica, seconds)

    def readings(self) -> tuple[RouteReading, ...]:
        """What the autoscaler is told of each revision that was called."""
        return tuple(seen.reading(revision) for revision, seen in self._seen.items())

    def wants(self) -> list[Want]:
        """One for each revision that calls wait for and that has no replica."""
        return [
            self._want(revision, seen.waiting)
            for revision, seen in self._seen.items()
            if seen.waiting and not self._table.listed(revision)
        ]

    def waiting_for(self, revision: RevisionKey) -> int:
        """Calls that wait for *revision*: its last replica must not go."""
        seen = self._seen.get(revision)
        return seen.waiting if seen else 0

    def keep(self) -> None:
        """The snapshots have changed: let go of revisions that no route leads to, and of who waits for them."""
        served = self._directory.revisions()
        self._activating &= served
        for revision, seen in list(self._seen.items()):
            if revision not in served:
                self._table.dismiss(revision)
                if not seen.in_flight and not seen.waiting:
                    del self._seen[revision]

    async def _lease(self, app: App, *, first: bool) -> Lease:
        until = time.monotonic() + self._hold
        while True:
            revision = self._revision(app)
            seen = self._of(revision)
            seen.arrived += first
            first = False
            if lease := self._table.take(revision):
                return lease
            left = until - time.monotonic()
            if left <= 0:
                message = f"no replica within {self._hold:g} s"
                raise unreachable(app.id, message, status=504, grpc="DEADLINE_EXCEEDED")
            self._admit(app, seen)
            cold = None if self._table.listed(revision) else time.monotonic()
            with self._waiting(revision, seen):
                held = await self._table.acquire(revision, left)
            if held is not None:
                self._started(revision, cold)
                return held

    def _started(self, revision: RevisionKey, cold: float | None) -> None:
        """The first call that an activation was for is told of; *cold* is when it began to wait."""
        if cold is None or revision not in self._activating:
            return
        self._activating.discard(revision)
        message = f"started for a call in {round((time.monotonic() - cold) * 1000)} ms"
        name, space = revision.function, revision.namespace
        self._send(Notice(namespace=space, function=name, kind="activation", message=message))

    def _admit(self, app: App, seen: RevisionTraffic) -> None:
        route = self._directory.route(app.key)
        if route is not None and seen.waiting >= route.queue:
            raise busy(f"{seen.waiting} calls already wait for app id {app.id}")

    def _revision(self, app: App) -> RevisionKey:
        route = self._directory.route(app.key)
        backend = choose(route.backends, self._draw()) if route is not None else None
        if backend is None:
            raise unreachable(app.id, "it takes no requests, or no revision of it has been ready yet", status=503)
        return backend.revision

    @contextmanager
    def _counted(self, app: App) -> Iterator[None]:
        active = self._active.get(app.key, 0)
        if active >= MOST:
            raise busy(f"{active} calls of app id {app.id} are already on their way")
        self._active[app.key] = active + 1
        try:
            yield
        finally:
            self._active[app.key] -= 1
            if not self._active[app.key]:
                del self._active[app.key]

    @contextmanager
    def _waiting(self, revision: RevisionKey, seen: RevisionTraffic) -> Iterator[None]:
        seen.waiting += 1
        if not self._table.listed(revision):
            self._activating.add(revision)
            self._send(self._want(revision, seen.waiting))
        self._touch()
        try:
            yield
        finally:
            seen.waiting -= 1
            self._touch()

    def _want(self, revision: RevisionKey, waiting: int) -> Want:
        return Want(
            revision=revision, generation=self._table.generation(revision), waiting=waiting, reason="service invocation"
        )

    def _of(self, revision: RevisionKey) -> RevisionTraffic:
        return self._seen.get(revision) or self._seen.setdefault(revision, RevisionTraffic())

    def _on_table(self, revision: RevisionKey) -> None:
        """Replicas went while calls wait: say so again at once."""
        if self.waiting_for(revision) and not self._table.listed(revision):
            self._touch()


def unreachable(app_id: str, why: str, *, status: int = 500, grpc: str = "UNAVAILABLE") -> DaprError:
    """A call that did not come through."""
    retry_after = 1 if status == 503 else 0
    message = f"failed to invoke, id: {app_id}, err: {why}"
    return DaprError(status, grpc, "ERR_DIRECT_INVOKE", message, retry_after=retry_after)
