"""Starting and stopping the local platform: one supervisor process per state folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from api.platform import run_directory
from cli.client import Client
from cli.errors import Failed, NoPlatform
from cli.transport import LocalTransport
from controller.errors import AlreadyRunning
from controller.local.processes import alive, die_with_parent

START = timedelta(minutes=5)
"""The first start makes the function environment, and the broker replays its store before it answers."""
STOP = timedelta(seconds=90)
"""Deliveries end, replicas finish their work, then the broker closes its store."""


def client(state: Path, namespace: str) -> Client:
    return Client(LocalTransport(run_directory(state)), namespace)


def holder(state: Path) -> int | None:
    """Pid of the supervisor that holds *state*; None when nobody does."""
    import fcntl

    try:
        with (run_directory(state) / "lock").open("r+b") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return int(lock.read().split()[0])
    except (OSError, ValueError, IndexError):
        pass
    return None


class Supervisor:
    """The process that keeps the platform's processes running."""

    def __init__(self, state: Path, options: Sequence[str], *, dies_with_us: bool) -> None:
        """Start it. With *dies_with_us* not even SIGKILL of this process leaves it behind."""
        if pid := holder(state):
            raise AlreadyRunning(str(state), pid)
        self._log = state / "logs" / "supervisor.log"
        self._log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own words
                [sys.executable, "-P", "-m", "cli.supervise", "--state", str(state), *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in the terminal is for us alone
                preexec_fn=die_with_parent if dies_with_us else None,  # noqa: PLW1509 - before any thread of ours
            )

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def said(self) -> str:
        """The last thing it wrote."""
        lines = self._log.read_text(errors="replace").splitlines()
        return lines[-1].removeprefix("evoke: ").removeprefix("error: ") if lines else ""

    def wait_for(self, platform: Client, tell: Callable[[str], None]) -> dict[str, Any]:
        """Facts of the platform as soon as it answers; Failed when the supervisor ends instead."""
        begun = time.monotonic()
        while True:
            if self.ended:
                raise Failed(self.said() or "the platform did not start", hint=f"see {self._log.parent}")
            try:
                return platform.platform()
            except NoPlatform:
                passed = time.monotonic() - begun
            if passed > START.total_seconds():
                raise Failed(f"the platform does not answer after {passed:.0f} s", hint=f"see {self._log.parent}")
            if passed > 1:
                tell(f"starting the platform ({passed:.0f} s)")
            time.sleep(0.02)

    def stop(self) -> None:
        """Ask it to stop everything and wait until it has."""
        if not self.ended:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP.total_seconds())
        except subprocess.TimeoutExpired:
            self._process.kill()  # its children end with it
            self._process.wait()


def stop(pid: int, state: Path) -> None:
    """Stop the supervisor *pid* of *state* and wait until it let go."""
    os.kill(pid, signal.SIGTERM)
    end = time.monotonic() + STOP.total_seconds()
    while holder(state) is not None and alive(pid):
        if time.monotonic() > end:
            raise Failed(f"the platform (pid {pid}) does not stop", hint=f"see {state}/logs, or kill -9 {pid}")
        time.sleep(0.02)
