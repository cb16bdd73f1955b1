"""Keeps each revision at its wanted number of replicas: checks it once, starts, drains, and backs off after crashes.

Level-triggered: :meth:`Fleet.converge` compares what is wanted with what lives and does the next step.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from datetime import timedelta
from typing import Any

from api.errors import EvokeError
from api.meta import RevisionKey
from api.model import Workload
from controller.local import fixed_port
from controller.local.app_facts import Binding
from controller.local.endpoints import Control, endpoint
from controller.local.forks import Launch, Running
from controller.local.replicas import Replicas
from controller.local.revisions import Record, Revisions
from controller.local.starts import HEALTHY, Crashes, Pace
from controller.local.troubles import Troubles

log = logging.getLogger(__name__)

QUICK_LOAD_MS = 100.0
"""Code that loads within this time is told to agents before the fork: requests wait in the socket's backlog, where
none counts as an attempt when the start fails. Slower starts would use up the time limit of what waits."""
_AGAIN = 1.0
"""Seconds until a replica is asked again to leave the port that another one needs."""
_FAREWELLS = frozenset({0, -signal.SIGTERM, 128 + signal.SIGTERM})
"""How a replica ends that did what it was told; programs in any language need not handle SIGTERM."""


class Fleet:
    """Replicas of all revisions."""

    def __init__(
        self,
        revisions: Revisions,
        control: Control,
        launch: Callable[[Workload], Awaitable[Launch]],
        changed: Callable[[], None],
        ready: Callable[[Running], None] = lambda _: None,
        bindings: Callable[[Workload], tuple[Binding, ...]] = lambda _: (),
    ) -> None:
        """*bindings* are those that the app of a workload may take as inputs."""
        self._revisions, self._control, self._launch, self._bindings = revisions, control, launch, bindings
        self.changed, self._on_ready = changed, ready
        self._troubles = Troubles(revisions)
        self._pace = self._troubles.pace
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.replicas: Replicas

    def adopts(self, revision: RevisionKey) -> Record | None:
        """The revision of a replica that is found running; None: it may not stay."""
        return self._revisions.get(revision)

    def set_wanted(self, revision: RevisionKey, count: int, drain: Collection[str] = ()) -> None:
        """Make *count* the wanted number; *drain* names those that should go."""
        if self._revisions.change(revision, wanted=count) is None:
            return
        leaving = [replica for replica in self.replicas.of(revision, "ready") if replica.id in drain]
        if leaving:
            self._drain(revision, leaving)
        self.converge(revision)

    async def kill(self, replicas: Collection[str], reason: str) -> list[Running]:
        """End *replicas* at once, which is no crash of theirs; answers those that are asked to for the first time."""
        ending = [one for one in self.replicas.all() if one.id in replicas and one.phase in {"ready", "draining"}]
        fresh = [replica for replica in ending if not replica.condemned]
        for replica in ending:
            replica.condemned = reason
            await self.replicas.kill(replica)
        return fresh

    def leave(self, replica: Running) -> None:
        """Let *replica* finish what it has and go; while it is wanted another one takes its place."""
        replica.phase = "draining"
        self._spawn(self._vacate(replica))

    def remove(self, revision: RevisionKey) -> None:
        """Let every replica finish its work and stop, then forget the revision."""
        pace = self._pace(revision)
        if self._revisions.get(revision) is None or pace.removing:
            return
        pace.removing = True
        self._spawn(self._remove(revision))

    def retry(self) -> None:
        """Something that starts may have waited for has changed: try what was held back at once."""
        for revision, pace in list(self._troubles.paces.items()):
            if pace.crashes.count:
                pace.crashes = Crashes()
                self.converge(revision)

    def converge(self, revision: RevisionKey) -> None:
        """Do the next step towards what is wanted."""
        record, pace = self._revisions.get(revision), self._pace(revision)
        if record is None or pace.removing or self._stopping:
            return
        if record.descriptor is None:
            self._start_check(record, pace)
            return
        ready, wanted = self.replicas.of(revision, "ready"), fixed_port.wanted(record)
        missing = wanted - len(ready) - pace.starting
        if missing < 0 and len(ready) > wanted:
            self._drain(revision, ready[wanted:])
        if missing > 0 and self._may_start(revision, pace) and self._has_port(record):
            for _ in range(1 if pace.crashes.count > 1 else missing):
                pace.starting += 1
                self._spawn(self._start(record, pace))

    def replica_listens(self, replica: Running) -> None:
        """A replica that starts has a socket: what waits for it goes there now."""
        self._publish(replica.revision)

    def replica_ready(self, replica: Running) -> None:
        """A replica serves: tell the agents at once."""
        self._publish(replica.revision)
        self._on_ready(replica)
        if self._pace(replica.revision).crashes.count > 1:
            asyncio.get_running_loop().call_later(HEALTHY.total_seconds(), self._recovered, replica)
        else:
            self._revisions.change(replica.revision, problem="", message="")
        self.changed()

    def replica_judged(self, replica: Running) -> None:
        """An app became unwell, or well again: agents hear of it, and the status says why nothing goes there."""
        self._publish(replica.revision)
        self._troubles.health(replica.revision, self.replicas.of(replica.revision, "ready"))
        self.changed()

    def replica_gone(self, replica: Running) -> None:
        """A replica that had been ready ended."""
        self._publish(replica.revision)
        if replica.phase != "draining" and not (replica.condemned or replica.lost or self._stopping):
            log.warning("%s ended: %s", replica.id, replica.reason)
            self._troubles.crashed(replica)
        replica.phase = "gone"
        self._troubles.health(replica.revision, self.replicas.of(replica.revision, "ready"))
        self._converge_all(replica.revision)
        self.changed()

    async def stop(self, grace: timedelta | None = None) -> None:
        """End every task; with *grace* every replica too, and nothing starts any more."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if grace is not None:
            seconds = grace.total_seconds()
            await asyncio.gather(*(self.replicas.stop(replica, seconds) for replica in self.replicas.all()))

    def _converge_all(self, revision: RevisionKey) -> None:
        """Converge *revision* and what may have waited for its port."""
        record = self._revisions.get(revision)
        for rival in self._rivals(record) if record is not None else ():
            self.converge(rival.key)
        self.converge(revision)

    def _has_port(self, record: Record) -> bool:
        """Whether nobody else has the port that it insists on; older revisions are asked to leave it."""
        rivals = self._rivals(record)
        if any(self._pace(rival.key).checking or self._pace(rival.key).starting for rival in rivals):
            return False
        running = [(rival, one) for rival in rivals for one in self.replicas.of(rival.key)]
        others = [one for rival, one in running if rival.key.function_key != record.key.function_key]
        self._troubles.port(record.key, next(iter(others), None))
        for rival, replica in running:
            if fixed_port.yields(rival, record) and replica.phase == "ready":
                self.leave(replica)
        return not running

    def _rivals(self, record: Record) -> tuple[Record, ...]:
        """Who else insists on its port, if it insists on one."""
        return fixed_port.rivals(record, self._revisions.all()) if fixed_port.of(record.workload) else ()

    async def _vacate(self, replica: Running) -> None:
        await self._close_and_stop(replica.revision, [replica], last=False)
        if not replica.gone.is_set():
            await asyncio.sleep(_AGAIN)  # an agent still uses it
        self._converge_all(replica.revision)

    def _may_start(self, revision: RevisionKey, pace: Pace) -> bool:
        if pace.crashes.count > 1 and pace.starting:
            return False  # after a crash one replica tries, the others follow it
        now = time.monotonic()
        if pace.crashes.not_before <= now:
            return True
        if pace.wake is None:
            pace.wake = asyncio.get_running_loop().call_later(pace.crashes.not_before - now, self._woken, revision)
        return False

    def _woken(self, revision: RevisionKey) -> None:
        self._pace(revision).wake = None
        self.converge(revision)

    def _start_check(self, record: Record, pace: Pace) -> None:
        if not (pace.checking or pace.broken) and self._may_start(record.key, pace) and self._has_port(record):
            pace.checking = True
            self._spawn(self._check(record, pace))

    async def _check(self, record: Record, pace: Pace) -> None:
        try:
            descriptor, facts = await self.replicas.check(
                await self._launch(record.workload), self._bindings(record.workload)
            )
        except EvokeError as error:
            self._troubles.not_checked(record.key, error, contested=bool(self._rivals(record)))
        else:
            pace.crashes = Crashes()
            self._revisions.change(record.key, descriptor=descriptor, app=facts, problem="", message="")
        finally:
            pace.checking = False
        self._converge_all(record.key)
        self.changed()

    async def _start(self, record: Record, pace: Pace) -> None:
        try:
            quick = record.descriptor is not None and record.descriptor.load_ms <= QUICK_LOAD_MS
            expected = record.descriptor if quick and not pace.crashes.count else None
            await self.replicas.start(await self._launch(record.workload), expected)
        except EvokeError as error:
            log.warning("%s does not start: %s", record.key, error)
            self._publish(record.key)
            self._troubles.not_started(record.key, error)
        finally:
            pace.starting -= 1
        self._converge_all(record.key)
        self.changed()

    def _recovered(self, replica: Running) -> None:
        if replica.phase == "ready":
            self._troubles.recovered(replica.revision)
            self.changed()

    def _drain(self, revision: RevisionKey, leaving: Collection[Running]) -> None:
        for replica in leaving:
            replica.phase = "draining"
        last = not self.replicas.of(revision, "ready") and not self._pace(revision).starting
        self._spawn(self._close_and_stop(revision, leaving, last=last))

    async def _close_and_stop(self, revision: RevisionKey, leaving: Collection[Running], *, last: bool) -> None:
        record = self._revisions.get(revision)
        grace = (record.workload.grace if record else timedelta(seconds=30)).total_seconds()
        ids = [replica.id for replica in leaving]
        closed = await self._control.close(revision, ids, last, 2.0 if last else grace)
        alive = [replica for replica in leaving if not replica.gone.is_set()]
        if not closed:
            for replica in alive:
                replica.phase = "ready"
            ready = len(self.replicas.of(revision, "ready"))
            record = self._revisions.get(revision)
            if record is not None and record.wanted < ready:
                self._revisions.change(revision, wanted=ready)
        else:
            await asyncio.gather(*(self.replicas.stop(replica, grace) for replica in alive))
            if alive and all(replica.exit in _FAREWELLS for replica in alive):  # it lived for as long as it was wanted
                self._troubles.recovered(revision)
        self._publish(revision)
        self.changed()

    async def _remove(self, revision: RevisionKey) -> None:
        record = self._revisions.change(revision, wanted=0)
        grace = (record.workload.grace if record else timedelta(seconds=30)).total_seconds()
        leaving = self.replicas.of(revision, "ready", "starting")
        for replica in leaving:
            replica.phase = "draining" if replica.phase == "ready" else replica.phase
        if leaving:
            await self._control.close(revision, [replica.id for replica in leaving], False, grace)
        await asyncio.gather(*(self.replicas.stop(replica, grace) for replica in leaving))
        self._control.endpoints(revision, ())
        self._revisions.remove(revision)
        self._troubles.paces.pop(revision, None)
        self.changed()

    def _publish(self, revision: RevisionKey) -> None:
        """Tell the agents which replicas serve."""
        record = self._revisions.get(revision)
        workload = record.workload if record is not None else None
        serving = self.replicas.of(revision, "starting", "ready", "draining")  # the control server hides what it closed
        found = [endpoint(replica, self.replicas.address(replica), workload) for replica in serving]
        self._control.endpoints(revision, [one for one in found if one is not None])

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a step of the fleet failed", exc_info=error)
