"""What the loader finds, and how it says what it cannot find: code, file, line, cause, signature, functions."""

from __future__ import annotations

import sys
import threading
from datetime import timedelta

import pytest

from functions_framework.exceptions import LoadError
from functions_framework.handler import Kind
from functions_framework.loader import load
from tests.functions_framework.harness import write

EVENT = "import functions_framework as ff\n\n@ff.cloud_event\nasync def {name}(event): ...\n"


def names(loaded) -> list[str]:
    return [str(handler) for handler in loaded.handlers]


def failure(path, target="", **how):
    with pytest.raises(LoadError) as caught:
        load(path, target, **how)
    assert "\n" not in caught.value.failure.message
    return caught.value.failure


@pytest.mark.parametrize("target", ["", "handle", "main:handle"])
def test_a_directory_a_file_and_a_target_find_the_same_handler(tmp_path, target):
    path = write(tmp_path, EVENT.format(name="handle"))

    assert names(load(tmp_path, target)) == names(load(path, target)) == ["handle (cloud_event, async)"]


def test_other_modules_and_packages_are_named_by_the_target(tmp_path):
    write(tmp_path, EVENT.format(name="a"), "other.py")
    write(tmp_path, "from .sub import VALUE\n" + EVENT.format(name="b"), "fleetpkg/__init__.py")
    write(tmp_path, "VALUE = 1\n", "fleetpkg/sub.py")

    assert names(load(tmp_path, "other:a")) == ["a (cloud_event, async)"]
    assert names(load(tmp_path, "fleetpkg:b")) == ["b (cloud_event, async)"]
    assert names(load(tmp_path)) == ["a (cloud_event, async)"]  # the only file, though not main.py


def test_user_modules_shadow_nothing(tmp_path):
    write(tmp_path, "raise RuntimeError('shadowed')\n", "json.py")
    write(tmp_path, "WHO = 'sibling'\n", "fleetsibling.py")
    path = write(tmp_path, "import json, fleetsibling\njson.dumps({})\n" + EVENT.format(name="handle"), "email.py")

    loaded = load(path)

    assert sys.path[-1] == str(tmp_path)
    assert loaded.module.__name__ == "_functions_framework_user_email"
    assert loaded.module.fleetsibling.WHO == "sibling"


@pytest.mark.parametrize(
    ("source", "kind", "context", "concurrency"),
    [
        ("@ff.http\ndef f(request): ...", Kind.HTTP, False, 8),
        ("@ff.http\nasync def f(request, context): ...", Kind.HTTP, True, 32),
        ("@ff.cloud_event\ndef f(event): ...", Kind.CLOUD_EVENT, False, 1),
        ("@ff.cloud_event\ndef f(event, retries=3): ...", Kind.CLOUD_EVENT, False, 1),
        ("@ff.cloud_event\ndef f(event, context=None): ...", Kind.CLOUD_EVENT, True, 1),
        ("@ff.batch\nasync def f(events, context): ...", Kind.BATCH, True, 100),
        ("@ff.batch(max_size=7)\ndef f(events): ...", Kind.BATCH, False, 7),
        ("def f(context): ...", Kind.OPENFUNCTION, False, 1),
        ("def f(c: 'UserContext'): ...", Kind.OPENFUNCTION, False, 1),
        ("def f(request): ...", Kind.HTTP, False, 8),
        ("class C:\n  async def __call__(self, event): ...\nf = ff.cloud_event(C())", Kind.CLOUD_EVENT, False, 32),
    ],
)
def test_kind_context_and_concurrency(tmp_path, source, kind, context, concurrency):
    path = write(tmp_path, "import functions_framework as ff\n" + source + "\n")

    (handler,) = load(path, "f").handlers

    assert (handler.kind, handler.takes_context, handler.concurrency) == (kind, context, concurrency)


def test_a_decorator_wins_over_the_setting_and_the_setting_over_the_guess(tmp_path):
    path = write(tmp_path, EVENT.format(name="a") + "def b(x): ...\n")

    assert load(path, "a", signature="http").handlers[0].kind is Kind.CLOUD_EVENT
    assert load(path, "b", signature="cloudevent").handlers[0].kind is Kind.CLOUD_EVENT


FAILURES = [
    ("def handle(event:\n", "SyntaxError: '(' was never closed", 1),
    ("\nimport celcius\n", "ModuleNotFoundError: No module named 'celcius'", 2),
    ("x = 1\n\ny = x / 0\n", "ZeroDivisionError: division by zero", 3),
    ("import sys\nsys.exit(2)\n", "the import called sys.exit(2)", 2),
    ("import functions_framework as ff\n@ff.typed\ndef f(x): ...\n", "f() has no type for x", 2),
    (EVENT.format(name="handle").replace("(event)", "()"), "handle() cannot be called as a cloudevent handler", 3),
    ("import functions_framework as ff\n@ff.batch\ndef f(a, b, c): ...\n", "expected: def f(events)", 2),
    ("value = 1\n", "main.py decorates no function", 0),
    ("def a(event): ...\ndef b(event): ...\n", "functions found: a, b", 0),
]


@pytest.mark.parametrize(("source", "said", "line"), FAILURES)
def test_a_failure_tells_file_line_and_cause(tmp_path, source, said, line):
    write(tmp_path, source)

    found = failure(tmp_path)

    assert (found.code, found.line) == ("E180", line)
    assert said in found.message
    if line:
        assert found.file == "main.py"


def test_a_failure_below_the_main_module_points_there(tmp_path):
    write(tmp_path, "import fleetbroken\n")
    write(tmp_path, "def f():\n    return {}['x']\n\nf()\n", "fleetbroken.py")

    found = failure(tmp_path)

    assert (found.file, found.line, found.message) == ("fleetbroken.py", 2, "KeyError: 'x'")
    assert "fleetbroken.py" in found.traceback


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("handel", "functions found: handle, other; did you mean handle?"),
        ("value", "value in main.py is a int, not a function"),
        ("nope:handle", "no module nope"),
        ("main:", "names no function"),
    ],
)
def test_a_bad_target_tells_what_there_is(tmp_path, target, said):
    write(tmp_path, EVENT.format(name="handle") + "value = 1\ndef other(x): ...\n")

    assert said in failure(tmp_path, target).message


def test_a_missing_source_and_an_unknown_kind_are_told(tmp_path):
    assert "no main.py" in failure(tmp_path).message
    path = write(tmp_path, EVENT.format(name="handle"))
    assert "none of http" in failure(path, signature="grpc").message


def test_an_import_that_hangs_ends_at_the_timeout(tmp_path):
    write(tmp_path, "import threading\n\nthreading.Event().wait()\n")

    found = failure(tmp_path, timeout=timedelta(seconds=0.1))

    assert "did not end within 0.1 s" in found.message
    assert (found.file, found.line) == ("main.py", 3)


def test_two_handlers_of_events_need_a_name_on_the_platform(tmp_path):
    path = write(tmp_path, EVENT.format(name="a") + "@ff.batch\ndef b(events): ...\n@ff.http\ndef c(r): ...\n")

    assert "a (cloud_event, async), b (batch)" in failure(path, several=False).message
    assert names(load(path, "b", several=False)) == ["b (batch)"]
    assert len(load(path).handlers) == 3


def test_loading_works_in_a_thread_too(tmp_path):
    path = write(tmp_path, EVENT.format(name="handle"))
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(names(load(path))))
    thread.start()
    thread.join()

    assert found == ["handle (cloud_event, async)"]
