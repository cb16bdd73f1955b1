"""The app's own process: its lines with their prefix, its end, and the end of all that it started."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from cli.dapr.settings import BadRun
from controller.local.processes import die_with_parent

GRACE = 5.0
"""Seconds between SIGTERM and SIGKILL."""
LONGEST = 1 << 20
"""Bytes of one line."""


class Program:
    """One running command."""

    def __init__(self, process: asyncio.subprocess.Process, readers: list[asyncio.Task[None]]) -> None:
        self._process, self._readers = process, readers

    @classmethod
    async def start(
        cls, command: Sequence[str], folder: Path, environ: Mapping[str, str], show: Callable[[str], None]
    ) -> Program:
        """Start *command*; *show* gets its lines, of both outputs. Raises BadRun."""
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=folder,
                env=dict(environ),
                stdin=None,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LONGEST,
                start_new_session=True,  # Ctrl-C in the terminal is for us alone, and its children end with it
                preexec_fn=die_with_parent,
            )
        except OSError as error:
            reason = error.strerror or str(error)
            raise BadRun(f"{command[0]}: {reason[:1].lower()}{reason[1:]}", hint="name a program of the PATH") from None
        streams = [stream for stream in (process.stdout, process.stderr) if stream is not None]
        return cls(process, [asyncio.create_task(_read(stream, show)) for stream in streams])

    @property
    def pid(self) -> int:
        return self._process.pid

    async def wait(self) -> int:
        """Its exit code, negative for a signal; every line was shown."""
        code = await self._process.wait()
        # a grandchild may hold the pipe open for ever
        await asyncio.wait(self._readers, timeout=1.0)
        return code

    async def stop(self) -> None:
        """End it and all that it started: SIGTERM, a grace time, SIGKILL."""
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(GRACE):
                await self._process.wait()
        self._signal(signal.SIGKILL)
        await self._process.wait()
        await asyncio.wait(self._readers, timeout=1.0)
        for reader in self._readers:
            reader.cancel()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


async def _read(stream: asyncio.StreamReader, show: Callable[[str], None]) -> None:
    while True:
        try:
            line = await stream.readline()
        except ValueError:
            continue  # longer than a line may be: that much of it was dropped
        if not line:
            return
        show(line.decode("utf-8", "replace").rstrip("\n"))


def prefixed(prefix: str) -> Callable[[str], None]:
    """Writes lines as Dapr's command does."""
    return partial(_write, prefix)


def _write(prefix: str, line: str) -> None:
    sys.stdout.write(f"{prefix} {line}\n")
    sys.stdout.flush()
