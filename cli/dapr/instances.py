"""What runs by ``evoke dapr run`` on this machine: one file for each app, which its own process writes and removes."""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
from datetime import datetime
from pathlib import Path

import msgspec

from cli.errors import Failed
from controller.local.processes import alive, private_directory


class Instance(msgspec.Struct, frozen=True, kw_only=True):
    """One app that runs."""

    id: str
    http: int
    grpc: int
    port: int
    """0: the app listens to nobody."""
    protocol: str
    command: str
    pid: int
    """Of the process that serves the API; its end is the app's end."""
    app_pid: int = 0
    since: datetime
    run_file: str = ""


def folder() -> Path:
    """Where the files stand; for this user only."""
    base = os.environ.get("XDG_RUNTIME_DIR") or os.path.join(tempfile.gettempdir(), f"evoke-{os.getuid()}")  # noqa: PTH118 - one expression
    return private_directory(Path(base) / "evoke-dapr")


def write(instance: Instance) -> Path:
    """Make *instance* known; several of one app id have a file each."""
    path = folder() / f"{instance.pid}-{instance.id}.json"
    draft = path.with_suffix(".new")
    draft.write_bytes(msgspec.json.encode(instance))
    draft.replace(path)
    return path


def running() -> list[Instance]:
    """All that run, oldest first; files of processes that were killed are removed."""
    found = []
    for path in folder().glob("*.json"):
        with contextlib.suppress(OSError, msgspec.DecodeError):
            one = msgspec.json.decode(path.read_bytes(), type=Instance)
            if alive(one.pid):
                found.append(one)
            else:
                path.unlink()
    return sorted(found, key=lambda one: one.since)


def named(app_id: str) -> Instance:
    """The oldest running instance of *app_id*. Raises Failed."""
    found = [one for one in running() if one.id == app_id]
    if not found:
        raise Failed(f"no app {app_id} runs", hint="`evoke dapr list` shows those that do")
    return found[0]


def stop(instance: Instance) -> None:
    """Ask it to end."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(instance.pid, signal.SIGTERM)
