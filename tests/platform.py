"""A whole platform in a temporary project, driven through its public surface: the evoke command and its sockets."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

EVOKE = (sys.executable, "-m", "cli.app")
DEADLINE = 60.0
"""Seconds that any step may take on a slow machine; reaching it is a failure, never a pause."""


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(self._path))


def until(probe: Callable[[], Any], *, what: str, deadline: float = DEADLINE) -> Any:
    """Poll *probe* until it answers something true: an observation, never a guess at how long things take."""
    end = time.monotonic() + deadline
    while True:
        try:
            found = probe()
        except (OSError, http.client.HTTPException):
            found = None
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"not within {deadline:.0f} s: {what}")
        time.sleep(0.02)


class Platform:
    """``evoke up -d`` on a project folder."""

    def __init__(self, project: Path) -> None:
        self.project = project
        self.state = project / ".evoke"

    def evoke(self, *words: str, text: str | None = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [*EVOKE, *words],
            cwd=self.project,
            input=text,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert not check or done.returncode == 0, (
            f"evoke {' '.join(words)} -> {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done

    def up(self, *options: str) -> None:
        self.evoke("up", "-d", "--no-watch", *options)

    def down(self) -> None:
        self.evoke("down", check=False)

    @property
    def run(self) -> Path:
        return (self.state / "run").resolve()

    def request(self, method: str, path: str, body: Any = None, *, socket_name: str = "controller.sock") -> Any:
        connection = UnixConnection(self.run / socket_name)
        try:
            connection.request(
                method, path, None if body is None else json.dumps(body), {"content-type": "application/json"}
            )
            reply = connection.getresponse()
            text = reply.read()
            assert reply.status < 400, f"{method} {path} -> {reply.status} {text[:500]!r}"
            return json.loads(text) if text else None
        finally:
            connection.close()

    def platform(self) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", "/v1/platform")
        return found

    def status(self, function: str) -> dict[str, Any]:
        found: dict[str, Any] = self.request("GET", f"/v1/functions/default/{function}/status")
        return found

    def replicas(self, function: str) -> list[dict[str, Any]]:
        return [replica for replica in self.status(function)["replicas"] if replica["phase"] == "ready"]

    def wait_ready(self, *functions: str) -> None:
        for function in functions:
            until(lambda name=function: _ready(self.status(name)), what=f"{function} ready")

    def pids(self) -> dict[str, int]:
        """Role -> pid of the supervisor's children."""
        supervisor = int((self.run / "lock").read_text().split()[0])
        roles = {
            "nats-server": "nats",
            "functions_framework.zygote": "zygote",
            "controller.local.main": "controller",
            "controller.local.plane": "plane",
        }
        found = {"supervisor": supervisor}
        for pid, parent, command in processes():
            if parent == supervisor:
                found.update({role: pid for text, role in roles.items() if text in command})
        return found

    def planes(self) -> list[int]:
        """Pids of every process that has the proxy's role."""
        return [pid for pid, _, command in processes() if str(self.run) in command and "local.plane" in command]

    def kill(self, role: str, number: int = signal.SIGKILL) -> int:
        pid = until(lambda: self.pids().get(role), what=f"pid of {role}")
        os.kill(pid, number)
        return int(pid)


def _ready(status: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])


def processes() -> Iterator[tuple[int, int, str]]:
    """Yield (pid, parent, command line) of every process that can be read."""
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            parent = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
            command = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (OSError, IndexError):
            continue
        yield int(entry.name), parent, command


@contextmanager
def started(project: Path, *options: str) -> Iterator[Platform]:
    platform = Platform(project)
    platform.up(*options)
    try:
        yield platform
    finally:
        platform.down()
