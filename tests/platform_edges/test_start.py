"""Starts that meet something in their way: a running platform, remains of a killed one, a port that is just taken."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.platform import EVOKE, Platform, processes, started, until

pytestmark = pytest.mark.platform
THIEF = Path(__file__).with_name("thief.py")

CODE = "import functions_framework as ff\n\n@ff.http\ndef hello(request):\n    return 'hi'\n"
MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: hello}
spec:
  serving:
    triggers: {http: {}}
    scaleOptions: {minReplicas: 1}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "main.py").write_text(CODE)
    (tmp_path / "function.yaml").write_text(MANIFEST)
    return tmp_path


def family(platform: Platform) -> dict[int, str]:
    """Pid -> command line of the supervisor and everything below it."""
    supervisor = platform.pids()["supervisor"]
    found = list(processes())
    mine = {pid: command for pid, _, command in found if pid == supervisor}
    for _ in range(4):
        mine |= {pid: command for pid, parent, command in found if parent in mine}
    return mine


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def test_a_second_start_names_the_first(project: Path) -> None:
    with started(project) as platform:
        second = platform.evoke("up", "-d", check=False)

        assert second.returncode == 1
        (line,) = second.stderr.splitlines()
        assert f"pid {platform.pids()['supervisor']}" in line
        assert platform.platform()["http"]


@pytest.mark.parametrize("rest", [{}, {"nats", "zygote", "controller", "plane"}], ids=["supervisor", "everything"])
def test_what_was_killed_leaves_no_orphan_and_nothing_in_the_way(project: Path, rest: set[str]) -> None:
    with started(project) as platform:
        platform.wait_ready("hello")
        until(lambda: platform.replicas("hello"), what="a replica")
        mine, run = family(platform), platform.run
        assert len(mine) >= 6
        roles = platform.pids()
        for pid in [pid for role, pid in roles.items() if role in rest] + [roles["supervisor"]]:
            os.kill(pid, signal.SIGKILL)
        until(lambda: not any(map(alive, mine)), what=f"no orphan of {mine}")
        assert list(run.glob("*.sock"))
        lock = run / "lock"
        lock.write_text("1\n")  # a pid that lives, and is not ours

        platform.up()

        platform.wait_ready("hello")
        until(lambda: platform.replicas("hello"), what="a replica again")
        assert {path.stem for path in (run / "r").glob("*.sock")} == {one["id"] for one in platform.replicas("hello")}
        assert not any(map(alive, mine))


@pytest.mark.parametrize("name", ["mqtt", "nats", "http", "dapr"])
def test_a_port_that_is_taken_at_the_last_moment_is_replaced(project: Path, name: str) -> None:
    platform = Platform(project)
    with supervised_beside_a_thief(platform, name):
        stolen = until((platform.state / "stolen").read_text, what="the theft")
        until(lambda: platform.platform()[name] != stolen, what="another port")
        assert until(lambda: connected(platform.platform()[name]), what="somebody listens there")
        problems = msgspec.json.decode((platform.run / "children.json").read_bytes())
        assert all(one["pid"] for one in problems.values()), problems


def test_a_controller_that_ends_while_up_waits_is_waited_for(project: Path) -> None:
    platform = Platform(project)
    words = [*EVOKE, "up", "-d", "--no-watch"]
    with subprocess.Popen(words, cwd=project, stdout=subprocess.PIPE, text=True) as up:
        try:
            assert up.stdout is not None
            assert up.stdout.readline().startswith("local")
            os.kill(platform.pids()["controller"], signal.SIGKILL)

            rest = up.stdout.read()

            assert up.wait(60) == 0
            assert "function/hello" in rest
        finally:
            platform.down()


@contextlib.contextmanager
def supervised_beside_a_thief(platform: Platform, name: str) -> Iterator[None]:
    words = [sys.executable, "-P", str(THIEF), name, str(platform.state)]
    with subprocess.Popen(words) as supervisor:
        try:
            yield
        finally:
            supervisor.send_signal(signal.SIGTERM)
            assert supervisor.wait(60) == 0


def connected(address: str) -> bool:
    host, _, port = address.rpartition(":")
    with contextlib.suppress(OSError), socket.create_connection((host, int(port)), 1):
        return True
    return False
