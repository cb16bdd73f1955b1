"""One ``evoke dapr run`` from its start to its exit code: the state it claims, the programs, the signals."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from api.actions import Resource
from api.meta import Key
from cli.dapr import instances
from cli.dapr.program import Program, prefixed
from cli.dapr.settings import AppRun, BadRun
from cli.dapr.sidecar import Sidecar
from controller.errors import AlreadyRunning
from controller.local.paths import Paths, prepare
from controller.local.processes import Lock


def claimed(state: Path) -> tuple[Paths, Lock]:
    """The state folder, or the next free one beside it: an app id may run several times."""
    for number in range(100):
        paths = prepare(state.with_name(f"{state.name}-{number}") if number else state)
        try:
            return paths, Lock(paths.run / "lock", paths.state)
        except AlreadyRunning:
            continue
    raise BadRun(f"{state} is in use a hundred times")


async def run(apps: Sequence[AppRun], declared: Sequence[Resource], state: Path, *, run_file: str = "") -> int:
    """Serve *apps* until their programs have ended, or until a signal; answers the exit code."""
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    paths, lock = claimed(state)
    try:
        sidecar = Sidecar(apps, declared, paths)
        for app in apps:
            ports = f"HTTP Port: {app.http}. gRPC Port: {app.grpc}"
            if run_file:
                say(f'Validating config and starting app "{app.id}"')
                say(f'Started Dapr with app id "{app.id}". {ports}')
            else:
                say(f"Starting Dapr with id {app.id}. {ports}")
        async with sidecar.serving():
            return await _together(sidecar, stopping, run_file)
    finally:
        lock.release()


async def _together(sidecar: Sidecar, stopping: asyncio.Event, run_file: str) -> int:
    """Programs and what they are told, until all have ended."""
    programs: dict[Key, Program] = {}
    files: list[Path] = []
    tasks: list[asyncio.Task[None]] = []
    try:
        for key, app in sidecar.apps.items():
            if app.command:
                show = prefixed(f"== APP - {app.id} ==" if run_file else "== APP ==")
                programs[key] = await Program.start(app.command, app.folder, sidecar.environ(app), show)
            files.append(instances.write(_instance(app, programs.get(key), run_file)))
            tasks.append(asyncio.create_task(sidecar.attend(app), name=f"app {app.id}"))
        tasks.append(asyncio.create_task(sidecar.find_peers(), name="peers"))
        logs = "Both Dapr and your app logs" if programs else "Dapr logs"
        say(f"✅  You're up and running! {logs} will appear here.\n")
        return await _until_the_end(programs, [*tasks, sidecar.proxy], stopping)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        sidecar.quiesce()
        await asyncio.gather(*(program.stop() for program in programs.values()))
        for file in files:
            file.unlink(missing_ok=True)


async def _until_the_end(
    programs: dict[Key, Program], tasks: Sequence[asyncio.Task[None]], stopping: asyncio.Event
) -> int:
    """The exit code: of the first program that failed, else 0; *tasks* raise what must end all."""
    signalled = asyncio.create_task(stopping.wait())
    ends = {asyncio.create_task(program.wait()): key for key, program in programs.items()}
    code = 0
    try:
        while not signalled.done():
            pending = [end for end in ends if not end.done()]
            if programs and not pending:
                return code
            attending = [task for task in tasks if not task.done()]
            await asyncio.wait([signalled, *pending, *attending], return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done() and not task.cancelled():
                    task.result()
            for end in [end for end in pending if end.done()]:
                code = code or _told_end(end.result())
        say("\nterminated signal received: shutting down")
        return 0
    finally:
        for waiting in (signalled, *ends):
            waiting.cancel()


def _told_end(code: int) -> int:
    if code == 0:
        say("✅  Exited App successfully")
        return 0
    say(f"❌  The App process exited with error code: {code}")
    return code if code > 0 else 128 - code


def _instance(app: AppRun, program: Program | None, run_file: str) -> instances.Instance:
    return instances.Instance(
        id=app.id,
        http=app.http,
        grpc=app.grpc,
        port=app.port,
        protocol=app.protocol,
        command=" ".join(app.command),
        pid=os.getpid(),
        app_pid=program.pid if program else 0,
        since=datetime.now(UTC),
        run_file=run_file,
    )


def say(text: str) -> None:
    """A line of our own, where scripts look for it."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
