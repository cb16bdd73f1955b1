"""Replica processes: started through a zygote, adopted after a restart, stopped with grace.

What runs is known by the zygote (its children) and by a note beside each socket, ``RUN/r/<id>.json``; this table is
only our picture of it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Collection, Mapping
from datetime import UTC, datetime

import msgspec

from api.errors import Unavailable
from api.meta import RevisionKey
from api.model import Phase, Replica
from controller.errors import StartFailed
from controller.local import strays
from controller.local.app_facts import AppFacts, Binding, handlers
from controller.local.apps import Apps
from controller.local.forks import Launch, Running, ask_descriptor, ended, fork
from controller.local.notes import Note, Notes
from controller.local.owner import Owner
from controller.local.paths import Paths
from controller.local.processes import ending, oom_kills
from controller.local.revisions import Record
from controller.local.starts import FairSlots
from controller.local.zygotes import Zygote, Zygotes
from functions_framework.zygote_wire import Descriptor, Exited

log = logging.getLogger(__name__)

_BACKLOG = 1024
_SLOT_TIME = 2.0
"""Seconds after which a slow start lets others start too."""
_EXIT = 1.0
"""Seconds beyond its grace in which a replica that uses all of it ends by itself."""
_KILL_PATIENCE = 5.0
"""Seconds until a killed process must be gone."""
_FAREWELL = 5.0
"""Seconds that the program of a check run gets to end by itself."""
_NOBODY = RevisionKey("", "", "")


class Replicas:
    """Every replica of this machine."""

    def __init__(self, paths: Paths, base: str, owner: Owner, apps: Apps) -> None:
        self._paths, self._owner, self.apps = paths, owner, apps
        self._notes = Notes(paths.replicas)
        self._slots = FairSlots(os.cpu_count() or 1)
        self._oom_kills = oom_kills()
        self._table: dict[str, Running] = {}
        self._adopting: dict[str, asyncio.Task[None]] = {}
        self.zygotes = Zygotes(paths, base, self)

    def of(self, revision: RevisionKey, *phases: Phase) -> list[Running]:
        """Replicas of one revision, oldest first; every phase if none is named."""
        return [
            replica
            for replica in self.all()
            if replica.revision == revision and (not phases or replica.phase in phases)
        ]

    def all(self) -> list[Running]:
        """Every replica, oldest first; check runs are not among them."""
        return [replica for replica in self._table.values() if not replica.check]

    def table(self) -> list[Running]:
        """Every process, check runs among them."""
        return list(self._table.values())

    def observed(self) -> tuple[Replica, ...]:
        """Every replica as planners see it."""
        return tuple(
            Replica(
                id=replica.id,
                revision=replica.revision,
                phase=replica.phase,
                address=self.address(replica),
                since=replica.since,
                reason=replica.reason,
                exit=replica.exit,
            )
            for replica in self.all()
        )

    def address(self, replica: Running) -> str | None:
        """Where it listens; None: nowhere."""
        return (replica.host or None) if replica.program else f"unix:{self._notes.socket(replica.id)}"

    def holder(self, port: int, but: Running | None = None) -> Running | None:
        """Who listens, or is about to, at a port that is not ours to choose."""
        return next((one for one in self._table.values() if one.port == port and one is not but), None)

    async def check(self, launch: Launch, bindings: Collection[Binding] = ()) -> tuple[Descriptor, AppFacts | None]:
        """Load the handler once without serving, or start the program once and ask what it takes; StartFailed with
        file and line, or its last words, when that does not work."""
        replica = self._new(launch, check=True)
        try:
            with socket.socket(socket.AF_UNIX) as nowhere:
                found = await self._fork(replica, launch, nowhere)
            if not replica.program:
                return found, None
            facts = await self.apps.ask(replica, launch.workload, bindings)
            shown = handlers(launch.workload, facts.declared, listens=bool(replica.host))
            return msgspec.structs.replace(found, handlers=shown), facts
        finally:
            await self._dismiss(replica)

    async def start(self, launch: Launch, expected: Descriptor | None = None) -> None:
        """Start one replica and see it ready; StartFailed or Unavailable when it does not become so.

        With *expected*, what it will be able to take is known and the owner hears of it before the fork.
        """
        replica = self._new(launch)
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                if not replica.program:
                    listener.bind(str(self._notes.socket(replica.id)))
                    listener.listen(_BACKLOG)
                descriptor = await self._fork(replica, launch, listener, expected)
            if replica.gone.is_set():
                raise StartFailed("CrashLoop", f"ended as soon as it was ready: {replica.reason}")
            self._ready(replica, descriptor)
            self.apps.watch(replica, launch.workload, self._owner.replica_judged)
        except BaseException:
            await self._end(replica)
            raise

    async def stop(self, replica: Running, grace: float) -> None:
        """TERM, wait for *grace* seconds, KILL; ends when the process is gone."""
        replica.phase = "draining"
        if replica.zygote is None:
            return
        await replica.zygote.signal(replica.id, signal.SIGTERM)
        try:
            async with asyncio.timeout(grace + _EXIT):
                await ended(replica)
        except TimeoutError:
            log.warning("%s did not end within its grace period of %g s: killed", replica.id, grace)
            await self._end(replica)

    async def kill(self, replica: Running) -> None:
        """KILL it now; exited() tells when it is gone."""
        if replica.zygote is not None:
            await replica.zygote.signal(replica.id, signal.SIGKILL)

    def exited(self, exited: Exited) -> None:
        """Hear from a zygote that a child ended."""
        replica = self._table.get(exited.id)
        if replica is None:
            return
        replica.exit, replica.reason = exited.code, self._ending(exited.code)
        replica.gone.set()
        if replica.phase != "starting":  # who starts it hears of the end by himself
            self._forget(replica)
            self._owner.replica_gone(replica)

    def connected(self, zygote: Zygote, children: Mapping[str, int]) -> None:
        """Hear all children of a zygote: adopt what we do not know, drop what is no more."""
        known = [one for one in self._table.values() if one.zygote is zygote and one.pid]
        lost = [replica for replica in known if replica.id not in children]
        strays.end({replica.id for replica in lost if replica.program})
        for replica in lost:
            replica.lost = True
            self.exited(Exited(id=replica.id, pid=replica.pid, code=-signal.SIGKILL))
        for name, pid in children.items():
            if name not in self._table and name not in self._adopting:
                self._adopting[name] = asyncio.create_task(self._adopt(zygote, name, pid))

    async def adopted(self) -> None:
        """Wait until everything found is adopted or ended, then remove what the dead left behind."""
        await asyncio.gather(*self._adopting.values())
        dead = self._notes.others(self._table)
        strays.end(dead)
        for name in dead:
            self._notes.remove(name)

    async def _fork(
        self, replica: Running, launch: Launch, listener: socket.socket, expected: Descriptor | None = None
    ) -> Descriptor:
        began = time.perf_counter()
        release = await self._slots.take(replica.revision.function_key)
        timer = asyncio.get_running_loop().call_later(_SLOT_TIME, release)
        try:
            if replica.program:  # what it imports is its own: any zygote will do
                return await self.apps.begin(replica, launch, await self.zygotes.any(), listener)
            zygote = await self.zygotes.at(launch.environment)
            if expected is not None:
                replica.descriptor = expected
                asyncio.get_running_loop().call_soon(self._owner.replica_listens, replica)  # once the fork is asked for
            return await fork(replica, launch, zygote, listener)
        finally:
            timer.cancel()
            release()
            replica.start_ms = (time.perf_counter() - began) * 1000

    async def _adopt(self, zygote: Zygote, name: str, pid: int) -> None:
        """Take a replica over that an earlier controller started, or end it."""
        replica = Running(id=name, revision=_NOBODY, since=datetime.now(UTC), pid=pid, zygote=zygote)
        try:
            note = self._notes.read(name)
            record = self._owner.adopts(note.revision)
            if record is None:
                raise LookupError(f"{note.revision} is no more")
            replica.revision, replica.since, replica.port = note.revision, note.since, note.port
            replica.program = record.workload.host == "command"
            descriptor = await self._known(replica, record)
        except (OSError, LookupError, ValueError) as error:  # TimeoutError is an OSError
            log.info("ending %s: %r", name, error)
            await zygote.signal(name, signal.SIGKILL)
            return
        finally:
            self._adopting.pop(name, None)
        replica.log = self._paths.replica_log(replica.revision, name)
        self._table[name] = replica
        self._ready(replica, descriptor)
        self.apps.watch(replica, record.workload, self._owner.replica_judged)
        log.info("adopted %s (pid %d)", name, pid)

    async def _known(self, replica: Running, record: Record) -> Descriptor:
        """What a replica can take that an earlier controller started."""
        if not replica.program:
            return await ask_descriptor(self._notes.socket(replica.id))
        if record.descriptor is None:
            raise LookupError(f"{record.key} was never checked")
        await self.apps.adopt(replica, record.workload, listens=bool(record.descriptor.concurrency))
        return record.descriptor

    def _new(self, launch: Launch, *, check: bool = False) -> Running:
        """A replica with a name of its own; long names are cut because its socket's path is limited."""
        revision = launch.workload.key
        name = f"{revision.function[:40]}-{revision.revision}-{secrets.token_hex(3)}"
        replica = Running(
            id=f"check-{name}" if check else name, revision=revision, since=datetime.now(UTC), check=check
        )
        if launch.workload.host == "command":
            replica.program = True
            self._give_port(replica, launch.workload.port)
        replica.log = self._paths.replica_log(revision, replica.id)
        self._table[replica.id] = replica
        if not check:
            self._notes.write(name, Note(revision=revision, since=replica.since, port=replica.port))
        return replica

    def _give_port(self, replica: Running, fixed: int) -> None:
        if fixed and (other := self.holder(fixed)) is not None:
            raise Unavailable(f"port {fixed} is used by {other.id}", hint="let the app listen at $APP_PORT")
        replica.port = fixed or self.apps.ports.lend(replica.id)

    def _ready(self, replica: Running, descriptor: Descriptor) -> None:
        replica.descriptor, replica.phase, replica.ready_at = descriptor, "ready", time.monotonic()
        self._owner.replica_ready(replica)

    async def _dismiss(self, replica: Running) -> None:
        """End what a check has started; a program may say goodbye."""
        if replica.program and replica.zygote is not None and replica.pid:
            await self.stop(replica, _FAREWELL)
        await self._end(replica)

    async def _end(self, replica: Running) -> None:
        """Kill it if it still lives, and forget it."""
        if replica.zygote is not None and replica.pid and not replica.gone.is_set():
            await replica.zygote.signal(replica.id, signal.SIGKILL)
            try:
                async with asyncio.timeout(_KILL_PATIENCE):
                    await replica.gone.wait()
            except TimeoutError:
                log.warning("%s (pid %d) does not end", replica.id, replica.pid)
        self._forget(replica)

    def _forget(self, replica: Running) -> None:
        self._table.pop(replica.id, None)
        self.apps.forget(replica.id)
        self._notes.remove(replica.id)

    def _ending(self, code: int) -> str:
        """How it ended; a SIGKILL is put down to memory when the kernel has just killed for it."""
        kills = oom_kills()
        killed, self._oom_kills = kills > self._oom_kills, kills
        return "out of memory, killed by the kernel" if killed and code == -signal.SIGKILL else ending(code)
