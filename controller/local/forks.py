"""One fork: what it is given, its first words on the status pipe, and the errors that these mean."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from datetime import datetime
from pathlib import Path

import msgspec

from api.errors import Unavailable
from api.meta import RevisionKey
from api.model import Phase, Workload
from controller.errors import StartFailed
from controller.local.environments import Environment
from controller.local.processes import alive
from controller.local.zygotes import Zygote
from functions_framework import zygote_wire as wire

_LOOK = 0.2
"""Seconds between two looks at a process whose zygote is away."""
_PATIENCE = 2.0
"""Seconds within which a zygote tells how a child ended, and an adopted replica answers."""
_status: msgspec.json.Decoder[wire.ReplicaStatus] = msgspec.json.Decoder(wire.ReplicaStatus)


_REASONS = {"MemoryError": "OutOfMemory", "the import did not end": "StartTimeout"}
"""Reason of condition Available by what the framework says; any other failure is the handler's."""


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """All that one start needs; *env* holds resolved secrets and is not kept."""

    workload: Workload
    source: Path
    environment: Environment
    env: dict[str, str]
    listens: bool | None = None
    """Of a program: whether an earlier replica of the revision did, or something is to be sent to it; None: nobody can
    tell yet."""


class Running(msgspec.Struct, kw_only=True, eq=False):
    """One replica process."""

    id: str
    revision: RevisionKey
    since: datetime
    check: bool = False
    """It only loads the handler."""
    phase: Phase = "starting"
    pid: int = 0
    ready_at: float | None = None
    """Monotonic seconds."""
    start_ms: float = 0.0
    descriptor: wire.Descriptor | None = None
    zygote: Zygote | None = None
    gone: asyncio.Event = msgspec.field(default_factory=asyncio.Event)
    exit: int | None = None
    reason: str = ""
    condemned: str = ""
    """Why it is killed before its time, and not for a fault of the revision."""
    lost: bool = False
    """It ended with its zygote: no fault of its own."""
    log: Path = Path()
    """Where its words stand."""
    program: bool = False
    """It is another program than our framework: an app."""
    port: int = 0
    """Of a program: where it is to listen on the loopback."""
    host: str = ""
    """Of a program: the address that it listens at; empty: it does not listen."""
    unwell: str = ""
    """Of a program: why it gets no work although it runs."""


async def fork(replica: Running, launch: Launch, zygote: Zygote, listener: socket.socket) -> wire.Descriptor:
    """Fork *replica* and wait for its first word; StartFailed says what a person should know."""
    replica.zygote = zygote
    reading = await _send(replica, launch, zygote, listener)
    patience = launch.workload.start_timeout.total_seconds()
    try:
        async with asyncio.timeout(patience):
            line = await _read_line(reading)
    except TimeoutError:
        raise StartFailed("StartTimeout", f"not ready within {patience:g} s; an import or a lock hangs") from None
    finally:
        os.close(reading)
    if not line:
        raise await _silent_end(replica)
    status = _status.decode(line)
    if isinstance(status, wire.LoadFailure):
        raise _load_failed(status)
    return status


async def fork_program(replica: Running, launch: Launch, zygote: Zygote, listener: socket.socket) -> None:
    """Fork *replica* into its program; StartFailed when there is none. It need not listen yet."""
    replica.zygote = zygote
    reading = await _send(replica, launch, zygote, listener)
    try:
        async with asyncio.timeout(_PATIENCE):
            line = await _read_line(reading)
    except TimeoutError:
        raise Unavailable("its zygote does not start it in time") from None
    finally:
        os.close(reading)
    if line:
        status = _status.decode(line)
        raise StartFailed(
            "HandlerError", f"{status.code} {status.message}" if isinstance(status, wire.LoadFailure) else ""
        )


async def ask_descriptor(path: Path) -> wire.Descriptor:
    """``GET /evoke/descriptor`` of a replica that another controller started; raises OSError or ValueError."""
    async with asyncio.timeout(_PATIENCE):
        reader, writer = await asyncio.open_unix_connection(str(path))
        try:
            writer.write(b"GET /evoke/descriptor HTTP/1.1\r\nhost: replica\r\nconnection: close\r\n\r\n")
            answer = await reader.read(1 << 16)
            while chunk := await reader.read(1 << 16):
                answer += chunk
        finally:
            writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    if b" 200 " not in head.split(b"\r\n", 1)[0]:
        raise ValueError(f"{path} answered {head[:40]!r}")
    return msgspec.json.decode(body, type=wire.Descriptor)


async def _send(replica: Running, launch: Launch, zygote: Zygote, listener: socket.socket) -> int:
    """Ask for the fork; answers our end of the status pipe."""
    replica.log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    handle = os.open(replica.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    request = wire.Fork(
        id=replica.id,
        source=str(launch.source),
        target=launch.workload.target,
        env={**launch.env, "POD_NAME": replica.id},
        # no limit on processes: RLIMIT_NPROC counts everything that this user runs
        limits=wire.Limits(memory=launch.workload.resources.memory),
        concurrency=launch.workload.concurrency,
        check=replica.check,
        command=list(launch.workload.command) if launch.workload.host == "command" else [],
    )
    try:
        started = await zygote.start(request, [listener.fileno(), handle, writing])
    except BaseException:
        os.close(reading)
        raise
    finally:
        os.close(handle)
        os.close(writing)
    replica.pid = started.pid
    return reading


async def _read_line(reading: int) -> bytes:
    """Up to the first newline or the end of the pipe."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[bytes] = loop.create_future()
    held = bytearray()

    def readable() -> None:
        try:
            data = os.read(reading, 1 << 16)
        except BlockingIOError:
            return
        held.extend(data)
        if (not data or b"\n" in data) and not done.done():
            done.set_result(bytes(held).partition(b"\n")[0])

    loop.add_reader(reading, readable)
    try:
        return await done
    finally:
        loop.remove_reader(reading)


async def _silent_end(replica: Running) -> StartFailed | Unavailable:
    """The pipe closed without a word: the zygote tells how the process ended."""
    try:
        async with asyncio.timeout(_PATIENCE):
            await replica.gone.wait()
    except TimeoutError:
        return StartFailed("CrashLoop", "closed its status pipe without a word")
    if replica.lost:
        return Unavailable("its zygote ended")
    reason = "OutOfMemory" if replica.reason.startswith("out of memory") else "CrashLoop"
    return StartFailed(reason, f"ended before it was ready: {replica.reason}")


def _load_failed(failure: wire.LoadFailure) -> StartFailed:
    place = f"{failure.file}:{failure.line}: " if failure.file else ""
    reason = next((reason for words, reason in _REASONS.items() if words in failure.message), "HandlerError")
    permanent = reason != "StartTimeout"  # the machine may have been busy
    return StartFailed(reason, f"{failure.code} {place}{failure.message}", permanent=permanent)


async def ended(replica: Running) -> None:
    """Return once it is gone, also where nobody is left to say so: a zygote that died in a platform that stops is not
    started again, and its children died with it."""
    while not replica.gone.is_set() and (_answers(replica) or alive(replica.pid)):
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LOOK):
                await replica.gone.wait()


def _answers(replica: Running) -> bool:
    return replica.zygote is not None and replica.zygote.connected
