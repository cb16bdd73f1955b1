"""Keeps each revision at its wanted number of replicas: checks it once, starts, drains, and backs off after crashes.

Level-triggered: :meth:`Fleet.converge` compares what is wanted with what lives and does the next step.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Coroutine
from datetime import timedelta
from typing import Any, Protocol

from api.errors import EvokeError, NotFound, Unavailable
from api.frames import Endpoint
from api.meta import RevisionKey
from api.model import Workload
from controller.errors import StartFailed
from controller.local.forks import Launch, Running
from controller.local.replicas import Replicas
from controller.local.revisions import Record, Revisions
from controller.local.starts import HEALTHY, Crashes, Pace

log = logging.getLogger(__name__)

QUICK_LOAD_MS = 100.0
"""Code that loads within this time is told to agents before the fork: requests wait in the socket's backlog, where
none counts as an attempt when the start fails. Slower starts would use up the time limit of what waits."""
PLATFORM_TROUBLE = 2
"""Starts in a row that may fail for want of a zygote before the function's status speaks of it."""


class Control(Protocol):
    """What is needed of replicas.server.ControlServer."""

    def endpoints(self, revision: RevisionKey, endpoints: Collection[Endpoint]) -> None: ...

    async def close(
        self,
        revision: RevisionKey,
        replicas: Collection[str],
        last: bool,
        timeout: float = 2.0,  # noqa: ASYNC109 - the real one's signature
    ) -> bool: ...


class Fleet:
    """Replicas of all revisions."""

    def __init__(
        self,
        revisions: Revisions,
        control: Control,
        launch: Callable[[Workload], Awaitable[Launch]],
        changed: Callable[[], None],
        ready: Callable[[Running], None] = lambda _: None,
    ) -> None:
        self._revisions, self._control, self._launch = revisions, control, launch
        self._changed, self._on_ready = changed, ready
        self._paces: dict[RevisionKey, Pace] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._stopping = False
        self.replicas: Replicas

    def adopts(self, revision: RevisionKey) -> bool:
        """Whether a replica that is found running may stay."""
        return self._revisions.get(revision) is not None

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

    def remove(self, revision: RevisionKey) -> None:
        """Let every replica finish its work and stop, then forget the revision."""
        pace = self._pace(revision)
        if self._revisions.get(revision) is None or pace.removing:
            return
        pace.removing = True
        self._spawn(self._remove(revision))

    def retry(self) -> None:
        """Something that starts may have waited for has changed: try what was held back at once."""
        for revision, pace in list(self._paces.items()):
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
        ready = self.replicas.of(revision, "ready")
        missing = record.wanted - len(ready) - pace.starting
        if missing < 0 and len(ready) > record.wanted:
            self._drain(revision, ready[record.wanted :])
        if missing > 0 and self._may_start(revision, pace):
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
        self._changed()

    def replica_gone(self, replica: Running) -> None:
        """A replica that had been ready ended."""
        self._publish(replica.revision)
        if replica.phase != "draining" and not (replica.condemned or replica.lost or self._stopping):
            now = time.monotonic()
            ready_for = None if replica.ready_at is None else now - replica.ready_at
            reason = "OutOfMemory" if replica.reason.startswith("out of memory") else "CrashLoop"
            log.warning("%s ended: %s", replica.id, replica.reason)
            self._failed(replica.revision, reason, f"replica {replica.id} ended: {replica.reason}", ready_for)
        replica.phase = "gone"
        self.converge(replica.revision)
        self._changed()

    async def stop(self, grace: timedelta | None = None) -> None:
        """End every task; with *grace* every replica too, and nothing starts any more."""
        self._stopping = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if grace is not None:
            seconds = grace.total_seconds()
            await asyncio.gather(*(self.replicas.stop(replica, seconds) for replica in self.replicas.all()))

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
        if not pace.checking and not pace.broken and self._may_start(record.key, pace):
            pace.checking = True
            self._spawn(self._check(record, pace))

    async def _check(self, record: Record, pace: Pace) -> None:
        try:
            descriptor = await self.replicas.check(await self._launch(record.workload))
        except EvokeError as error:
            pace.broken = isinstance(error, StartFailed) and error.permanent
            self._not_started(record.key, error)
        else:
            pace.crashes = Crashes()
            self._revisions.change(record.key, descriptor=descriptor, problem="", message="")
        finally:
            pace.checking = False
        self.converge(record.key)
        self._changed()

    async def _start(self, record: Record, pace: Pace) -> None:
        try:
            quick = record.descriptor is not None and record.descriptor.load_ms <= QUICK_LOAD_MS
            expected = record.descriptor if quick and not pace.crashes.count else None
            await self.replicas.start(await self._launch(record.workload), expected)
        except EvokeError as error:
            log.warning("%s does not start: %s", record.key, error)
            self._publish(record.key)
            self._not_started(record.key, error)
        finally:
            pace.starting -= 1
        self.converge(record.key)
        self._changed()

    def _not_started(self, revision: RevisionKey, error: EvokeError) -> None:
        if not isinstance(error, Unavailable):
            secret = "SecretNotFound" if isinstance(error, NotFound) else "CrashLoop"
            self._failed(revision, error.reason if isinstance(error, StartFailed) else secret, str(error))
            return
        pace, now = self._pace(revision), time.monotonic()  # the platform's trouble, not its own: told when it lasts
        if pace.crashes.not_before <= now:  # starts at the same time fail for the same cause
            pace.crashes = pace.crashes.after_failure(now)
        if pace.crashes.count > PLATFORM_TROUBLE:
            self._revisions.change(revision, problem="Starting", message=str(error))

    def _failed(self, revision: RevisionKey, reason: str, message: str, ready_for: float | None = None) -> None:
        pace = self._pace(revision)
        pace.crashes = pace.crashes.after_failure(time.monotonic(), ready_for=ready_for)
        if pace.crashes.count > 1 or ready_for is None:
            self._revisions.change(revision, problem=reason, message=message)

    def _recovered(self, replica: Running) -> None:
        if replica.phase == "ready":
            self._recover(replica.revision)
            self._changed()

    def _recover(self, revision: RevisionKey) -> None:
        self._pace(revision).crashes = Crashes()
        self._revisions.change(revision, problem="", message="")

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
            if alive and all(replica.exit == 0 for replica in alive):  # it lived for as long as it was wanted
                self._recover(revision)
        self._publish(revision)
        self._changed()

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
        self._paces.pop(revision, None)
        self._changed()

    def _publish(self, revision: RevisionKey) -> None:
        """Tell the agents which replicas serve."""
        serving = self.replicas.of(revision, "starting", "ready", "draining")  # the control server hides what it closed
        self._control.endpoints(revision, [endpoint for replica in serving if (endpoint := self._endpoint(replica))])

    def _endpoint(self, replica: Running) -> Endpoint | None:
        described = replica.descriptor
        if described is None or replica.gone.is_set():
            return None
        return Endpoint(
            replica=replica.id,
            address=self.replicas.address(replica.id),
            credit=described.concurrency,
            batch=described.batch,
            ordered=described.ordered,
        )

    def _pace(self, revision: RevisionKey) -> Pace:
        return self._paces.setdefault(revision, Pace())

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a step of the fleet failed", exc_info=error)
