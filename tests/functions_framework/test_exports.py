"""The names that Google's, OpenFunction's and our users import; and that the package imports nothing of ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import functions_framework as ff
from functions_framework.context import AsyncContext, Context, current
from functions_framework.context.user_context import UserContext
from functions_framework.openfunction.function_out import FunctionOut

OURS = {"api", "builder", "cli", "controller", "eventbus", "gateway", "proxy", "replicas", "triggers"}


def test_every_name_is_there():
    for name in ff.__all__:
        assert getattr(ff, name) is not None
    for name in ("http", "cloud_event", "create_asgi_app"):
        assert callable(getattr(ff.aio, name))
    assert ff.context.current is current
    assert all((AsyncContext, Context, UserContext, FunctionOut))


def test_a_decorated_function_stays_the_function():
    def handle(event: ff.CloudEvent) -> int:
        return 3

    for decorate in (ff.http, ff.cloud_event, ff.batch, ff.batch(max_size=3), ff.aio.http, ff.errorhandler(ValueError)):
        assert decorate(handle) is handle


def test_it_imports_none_of_our_packages():
    package = Path(ff.__file__).parent
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            modules = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            modules += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not {m.partition(".")[0] for m in modules} & OURS, path


def test_the_events_alone_need_no_server():
    code = "import sys, functions_framework.event; print(*sorted(sys.modules))"

    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert not {"asyncio", "httptools", "uvloop", "werkzeug", "click", "flask"} & set(loaded)
