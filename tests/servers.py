"""What every real server of the tests has in common: one process, its log, its end."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

from api.platform import LOOPBACK


def missing(how: str) -> NoReturn:
    """End a test for want of a component: CI must have it, elsewhere the test is skipped with *how* to get it."""
    if os.environ.get("CI"):
        pytest.fail(how)
    pytest.skip(how)


class Server:
    """One process on free ports of the loopback, its data under one directory; subclasses have a start()."""

    name: str
    """Of the program, in messages and of its log."""
    restarts_with = signal.SIGKILL
    ends_within = 20.0
    """Seconds."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    @property
    def log(self) -> str:
        path = self.directory / f"{self.name}.log"
        return path.read_text()[-2000:] if path.exists() else ""

    def start(self) -> None:
        """Start it and wait until it is ready; from a coroutine, call it through asyncio.to_thread."""
        raise NotImplementedError

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Stop as an operator does."""
        self._end(signal.SIGTERM)

    def restart(self, how: signal.Signals | None = None) -> None:
        """End it with *how* and start it again on the same data and ports."""
        self._end(how or self.restarts_with)
        self.start()

    def freeze(self) -> None:
        """Let it answer nothing until thaw(); returns once it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_text().split()[2] != "T":
            time.sleep(0.001)  # a signal is taken in its own time, and nothing tells when

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _launch(self, command: Sequence[str]) -> None:
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)

    def _wait_ready(self, answers: Callable[[], bool], within: float) -> None:
        assert self._process is not None
        end = time.monotonic() + within
        while not answers():
            assert self._process.poll() is None, f"{self.name} ended: {self.log}"
            assert time.monotonic() < end, f"{self.name} does not answer: {self.log}"
            time.sleep(0.01)  # polling another process's listener: nothing tells when it opens

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)  # a frozen one takes the signal when it goes on
            self._process.wait(self.ends_within)
            self._process = None


def listens(port: int) -> bool:
    """Whether something takes connections at *port* of the loopback."""
    try:
        socket.create_connection((LOOPBACK, port), 1).close()
    except OSError:
        return False
    return True
