"""The functions-framework command: flags, environment, precedence, failures, start and drain as a process."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from functions_framework.command import main
from tests.functions_framework.harness import write

SOURCE = """
    import functions_framework as ff

    @ff.cloud_event
    def decorated(event): ...

    def plain(x):
        return "hello"
"""


@pytest.fixture
def source(tmp_path):
    return write(tmp_path, SOURCE)


def run(*arguments: str, **environ: str):
    return CliRunner(env={"FUNCTION_TARGET": "", **environ}).invoke(main, ["--dry-run", *arguments])


@pytest.mark.parametrize(
    ("arguments", "environ", "said"),
    [
        (("--target", "decorated"), {}, "decorated (cloud_event)"),
        (("--target", "decorated", "--signature-type", "http"), {}, "decorated (cloud_event)"),
        (("--target", "plain"), {}, "plain (http)"),
        (("--target", "plain"), {"FUNCTION_SIGNATURE_TYPE": "cloudevent"}, "plain (cloud_event)"),
        (("--target", "plain", "--signature-type", "http"), {"FUNCTION_SIGNATURE_TYPE": "cloudevent"}, "plain (http)"),
        ((), {"FUNCTION_TARGET": "plain"}, "plain (http)"),
        ((), {}, "decorated (cloud_event)"),
    ],
)
def test_decorator_flag_environment_default(source, arguments, environ, said):
    result = run("--source", str(source), *arguments, **environ)

    assert (result.exit_code, result.output.splitlines()[0]) == (0, f"Function: {said}")


def test_address_comes_from_flags_and_environment(source):
    flagged = run("--source", str(source), "--host", "127.0.0.1", "--port", "9", PORT="10", HOST="::1")
    by_environment = run("--source", str(source), PORT="10", HOST="::1")

    assert "http://127.0.0.1:9/" in flagged.output
    assert "http://::1:10/" in by_environment.output


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (("--source", "none.py"), "E180 File none.py that is expected", 1),
        (("--target", "plane"), "did you mean plain?", 1),
        (("--port", "x"), "Invalid value for '--port'", 2),
        (("--signature-type", "grpc"), "Invalid value for '--signature-type'", 2),
    ],
)
def test_failures_are_told(source, arguments, said, code):
    given = () if "--source" in arguments else ("--source", str(source))

    result = run(*given, *arguments)

    assert result.exit_code == code
    assert said in result.output


def test_a_broken_source_shows_the_traceback_and_then_the_line(tmp_path):
    result = run("--source", str(write(tmp_path, "import celcius\n")))

    lines = result.output.strip().splitlines()
    assert lines[-1] == "E180 main.py:1: ModuleNotFoundError: No module named 'celcius'"
    assert any("Traceback" in line for line in lines)


def test_it_serves_and_drains_as_a_process(source):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "functions_framework", "--source", str(source), "--target", "plain"]
    environ = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "LOG_EXECUTION_ID": "1"}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ)
    assert process.stdout is not None
    try:
        started = process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/x", timeout=10) as answer:
            body = answer.read()
        process.send_signal(signal.SIGTERM)
        ended = process.wait(10)
    finally:
        process.kill()
        process.wait()
        process.stdout.close()

    assert b"plain (http) on http://127.0.0.1" in started
    assert (body, ended) == (b"hello", 0)


def test_debug_starts_again_when_a_file_changes(source):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    argv = [sys.executable, "-m", "functions_framework", "--debug", "--source", str(source), "--target", "plain"]
    environ = {**os.environ, "HOST": "127.0.0.1", "PORT": str(port), "LOG_EXECUTION_ID": "1"}
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, env=environ)
    assert process.stdout is not None
    try:
        process.stdout.readline()
        source.write_text(source.read_text().replace("hello", "changed"))
        process.stdout.readline()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=10) as answer:
            assert answer.read() == b"changed"
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(10)
        process.stdout.close()
