"""A real redis-server for tests, on free ports, with its data under one directory."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from api.platform import LOOPBACK, spare

PROGRAM = shutil.which("redis-server")
READY_WITHIN = 10.0


class Redis:
    """One server that writes every command to disk; *lines* join its configuration."""

    def __init__(self, directory: Path, lines: Sequence[str] = (), *, tls: tuple[str, str, str] | None = None) -> None:
        """*tls*: PEM texts of CA, certificate and key; then there is no other listener."""
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self.port = spare()
        self.host = f"{LOOPBACK}:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        own = [f"bind {LOOPBACK}", f"dir {directory}", "appendonly yes", "appendfsync always", "save ''"]
        own += self._listener(tls)
        self.config = directory / "redis.conf"
        self.config.write_text("\n".join([*own, *lines, ""]))

    def _listener(self, tls: tuple[str, str, str] | None) -> list[str]:
        if tls is None:
            return [f"port {self.port}"]
        for name, pem in zip(("ca", "cert", "key"), tls, strict=True):
            path = self.directory / f"{name}.pem"
            path.touch(0o600)
            path.write_text(pem)
        files = ["tls-ca-cert-file ca.pem", "tls-cert-file cert.pem", "tls-key-file key.pem"]
        return ["port 0", f"tls-port {self.port}", "tls-auth-clients no", *files]

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self, *arguments: str) -> None:
        """Start it and wait until it listens; from a coroutine, call it through asyncio.to_thread."""
        assert PROGRAM is not None
        with (self.directory / "redis.log").open("ab") as log:
            command = [PROGRAM, str(self.config), *arguments]
            self._process = subprocess.Popen(command, cwd=self.directory, stdout=log, stderr=log)
        deadline = time.monotonic() + READY_WITHIN
        while not self._listens():
            assert self._process.poll() is None, (self.directory / "redis.log").read_text()
            assert time.monotonic() < deadline, "redis-server does not listen"
            time.sleep(0.01)  # polling another process's listener: nothing tells when it opens

    def _listens(self) -> bool:
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """kill -9."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def freeze(self) -> None:
        """Let it answer nothing until thaw(); returns once it stands still."""
        os.kill(self.pid, signal.SIGSTOP)
        while Path(f"/proc/{self.pid}/stat").read_text().split()[2] != "T":
            time.sleep(0.001)  # a signal is taken in its own time, and nothing tells when

    def thaw(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def _end(self, how: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.send_signal(signal.SIGCONT)
            self._process.wait(20)
            self._process = None


def start_redis(directory: Path, lines: Sequence[str] = (), *, tls: tuple[str, str, str] | None = None) -> Redis:
    """A running server; the caller stops it."""
    if PROGRAM is None and not os.environ.get("CI"):
        pytest.skip("Redis sources need redis-server: apt-get install redis-server")
    server = Redis(directory, lines, tls=tls)
    server.start()
    return server
