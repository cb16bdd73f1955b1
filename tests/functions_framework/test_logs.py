"""JSON logs: print and logging, with the call, event and attempt they belong to, in threads and tasks."""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from functions_framework import logs
from tests.functions_framework.harness import app, ask, bulk, event, request, structured

ENVIRON = {"K_SERVICE": "on-reading", "K_REVISION": "on-reading-00001", "POD_NAME": "r1"}


class Log:
    """JSON logs into a file; begun within a test, since pytest has its own streams for each phase."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def begin(self) -> None:
        logs.install(ENVIRON, self.descriptor)

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
def log(tmp_path):
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    found = Log(tmp_path / "log")
    streams = sys.stdout, sys.stderr
    yield found
    sys.stdout, sys.stderr = streams
    root.handlers[:] = handlers
    root.setLevel(level)
    os.close(found.descriptor)


SOURCE = """
    import logging
    import functions_framework as ff

    @ff.cloud_event
    {how} handle(event, context):
        print("got", event.id)
        print("part", end="")
        logging.getLogger("mine").warning("%s", context.attempt)
        context.logger.info("two\\nlines")
        if event.data == "fail":
            raise KeyError("celcius")
"""


@pytest.mark.parametrize("how", ["def", "async def"])
def test_every_line_names_its_call(tmp_path, log, how):
    application = app(tmp_path, SOURCE.format(how=how))

    log.begin()
    ask(application, structured(event(id="7"), evoke_trigger="t", evoke_attempt="3", function_execution_id="c1"))

    found = log.lines()
    common = {"function": "on-reading", "revision": "on-reading-00001", "replica": "r1", "call": "c1", "event": "7"}
    assert all(common.items() <= line.items() and line["attempt"] == 3 for line in found)
    said = [(line["severity"], line["message"], line.get("logger")) for line in found]
    assert said == [
        ("INFO", "got 7", None),
        ("WARNING", "3", "mine"),
        ("INFO", "two\nlines", "function"),
        ("INFO", "part", None),
    ]
    assert all(line["time"].endswith("Z") for line in found)


@pytest.mark.parametrize("how", ["def", "async def"])
def test_lines_of_a_batch_carry_their_own_event(tmp_path, log, how):
    application = app(tmp_path, SOURCE.format(how=how), concurrency=4)

    log.begin()
    ask(application, bulk([event(id=str(n)) for n in range(20)]))

    got = [line for line in log.lines() if line["message"].startswith("got")]
    assert {line["message"] for line in got} == {f"got {n}" for n in range(20)}
    assert all(line["message"] == f"got {line['event']}" for line in got)


def test_an_exception_is_logged_once_with_its_traceback(tmp_path, log):
    application = app(tmp_path, SOURCE.format(how="def"))

    log.begin()
    ask(application, structured(event(data="fail"), evoke_trigger="t"))

    errors = [line for line in log.lines() if line["severity"] == "ERROR"]
    assert len(errors) == 1
    assert errors[0]["message"].startswith("KeyError: 'celcius'\nTraceback")
    assert "main.py" in errors[0]["message"]
    assert errors[0]["event"] == "1"


def test_http_calls_are_logged_with_their_id(tmp_path, log):
    application = app(
        tmp_path,
        """
        import functions_framework as ff

        @ff.http
        def view(request):
            print("here")
            return "ok"
        """,
    )

    log.begin()
    ask(application, request("GET", "/", function_execution_id="abc"))

    (line,) = log.lines()
    assert (line["message"], line["call"], line["attempt"]) == ("here", "abc", 1)
    assert "event" not in line


def test_a_huge_line_is_cut_and_a_closed_log_does_no_harm(tmp_path, log):
    log.begin()
    print("x" * 100_000)
    assert len(log.lines()[0]["message"]) == logs.MAX_LINE

    sys.stdout.buffer.write(b"bytes\n")
    assert log.lines()[-1]["message"] == "bytes"
    logs.JsonLog(9999, {}).write("INFO", "to nobody")
