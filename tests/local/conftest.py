"""A real zygote of the tool's own interpreter, with folders of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from controller.local.paths import Paths, private_directory


@pytest.fixture
def paths(tmp_path):
    """Paths of a platform that does not run; its sockets stand in a short folder."""
    run = Path(tempfile.mkdtemp(prefix="ev-"))
    private_directory(run / "r")
    state = tmp_path / "state"
    for folder in ("bundles", "secrets", "logs/functions"):
        (state / folder).mkdir(parents=True)
    yield Paths(state, run)
    shutil.rmtree(run)


class ZygoteProcess:
    """The base zygote, as the supervisor starts it."""

    def __init__(self, paths: Paths) -> None:
        argv = [sys.executable, "-P", "-m", "functions_framework.zygote", "--socket", str(paths.socket("zygote"))]
        self._log = (paths.state / "zygote.log").open("ab")
        self._process = subprocess.Popen(argv, stdout=self._log, stderr=self._log, cwd="/")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def stop(self) -> None:
        if self._process.poll() is None:
            self.kill()
        self._log.close()


@pytest.fixture
def zygote(paths):
    process = ZygoteProcess(paths)
    yield process
    process.stop()


@pytest.fixture
def start_zygote(paths):
    """Start more of them, one after the other."""
    started = []

    def start():
        started.append(ZygoteProcess(paths))
        return started[-1]

    yield start
    for process in started:
        process.stop()


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill(pid: int) -> None:
    os.kill(pid, 9)
