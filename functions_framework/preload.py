"""What a zygote imports before its first fork, and whether it may be forked from after that."""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

IMPORTS = (
    "concurrent.futures.thread",
    "encodings.idna",
    "functions_framework.context.user_context",
    "functions_framework.replica",
    "functions_framework.views",
    "httptools",
    "multiprocessing.synchronize",
    "sqlite3",
    "uvloop",
    "werkzeug.exceptions",
    "werkzeug.test",
    "werkzeug.wrappers",
)
"""Loaded before the first fork: the framework, what it imports late, and what nearly every function imports."""


def preload(modules: Sequence[str]) -> str | None:
    """Import what children will need; say why this process may not be forked from, or None.

    What is missing is left to the children: the fork works all the same.
    """
    for name in (*IMPORTS, *modules):
        try:
            importlib.import_module(name)
        except ImportError as error:
            if name in modules:
                return f"cannot import {name}: {error}"
    if threading.active_count() > 1:
        return f"the imports left {threading.active_count() - 1} threads running, which a fork would lose"
    return None


WARM = """
import functions_framework

@functions_framework.cloud_event
async def event(event, context): ...

@functions_framework.http
def request(request): ...
"""


def warm() -> None:
    """Load and build a function once, so that children find code specialised and caches filled; leaves no trace."""
    from functions_framework.app import App
    from functions_framework.loader import load
    from functions_framework.message import Request

    with tempfile.TemporaryDirectory() as directory:
        (Path(directory) / "main.py").write_text(WARM)
        before = list(sys.path)
        for _ in range(3):
            app = App(load(directory, several=False), {})
            answered = app.handle(Request("GET", "/healthz", []))
            with contextlib.suppress(StopIteration):
                answered.send(None)
            sys.modules.pop(app.loaded.module.__name__)
        sys.path[:] = before
        sys.path_importer_cache.pop(os.path.realpath(directory), None)
