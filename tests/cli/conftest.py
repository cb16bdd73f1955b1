"""The command line in this process, with a state folder and a fake platform of its own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from api.platform import run_directory
from cli.app import main
from tests.cli import fake


class Said(msgspec.Struct, frozen=True):
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str


Evoke = Callable[..., Said]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty project as the working folder; sockets in a short place of its own."""
    sockets = tempfile.mkdtemp(prefix="ev-", dir="/tmp")
    monkeypatch.setenv("XDG_RUNTIME_DIR", sockets)
    for name in ("EVOKE_STATE", "NO_COLOR", "EVOKE_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    shutil.rmtree(sockets)


@pytest.fixture
def evoke(project: Path, capfd: pytest.CaptureFixture[str]) -> Evoke:
    """Run one command line: ``evoke("get", "functions")``."""

    def run(*words: str) -> Said:
        capfd.readouterr()
        code = main(words)
        out, err = capfd.readouterr()
        return Said(code, out, err)

    return run


@pytest.fixture
def platform(project: Path) -> Iterator[fake.Platform]:
    """A platform that belongs to the project."""
    state = project / ".evoke"
    state.mkdir()
    with fake.running(run_directory(state)) as found:
        yield found
