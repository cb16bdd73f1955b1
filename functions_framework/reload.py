"""Run the command again whenever a Python file of the source changes; a crash waits for the next change."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

CHILD = "FUNCTIONS_FRAMEWORK_RELOADED"
POLL = 0.2
IGNORED = frozenset({".git", ".evoke", ".venv", "venv", "node_modules", "__pycache__"})


def is_child() -> bool:
    """Whether this is the process that serves."""
    return CHILD in os.environ


def run(source: str) -> int:
    """Serve and watch until interrupted; returns the exit status."""
    root = Path(source) if Path(source).is_dir() else Path(source).parent
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    child = _start()
    try:
        seen = snapshot(root)
        while True:
            time.sleep(POLL)
            now = snapshot(root)
            if now != seen:
                seen = now
                print("functions-framework: source changed, starting again", file=sys.stderr)  # noqa: T201 - talk
                _stop(child)
                child = _start()
    except KeyboardInterrupt:
        return 130
    finally:
        _stop(child)


def snapshot(root: Path) -> Mapping[str, int]:
    """Modification times of the Python files below *root*."""
    found = {}
    for directory, names, files in os.walk(root):
        names[:] = [name for name in names if name not in IGNORED]
        for name in files:
            if name.endswith(".py"):
                path = os.path.join(directory, name)  # noqa: PTH118 - walked five times a second
                try:
                    found[path] = os.stat(path).st_mtime_ns  # noqa: PTH116 - walked five times a second
                except FileNotFoundError:
                    continue
    return found


def _start() -> subprocess.Popen[bytes]:
    argv = [sys.executable, "-m", "functions_framework.command", *sys.argv[1:]]
    return subprocess.Popen(argv, env={**os.environ, CHILD: "1"})  # noqa: S603 - our own module with our own arguments


def _stop(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
