"""Bad input through the command line on a running platform: one coded line, exit 2, nothing applied, no wait."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.api.bad_input import FIELDS, FUNCTION, SOURCE, YAML
from tests.platform import EVOKE, Platform

pytestmark = pytest.mark.platform

LIMIT = 10.0
"""Seconds that a refusal may take, the start of a process on a busy machine included: against hangs only."""
ROWS = {
    name: (row[0], row[1])
    for name, row in {**YAML, **FIELDS}.items()
    if name
    in {
        "alias bomb", "cyclic alias", "duplicate key", "tag", "tab", "not UTF-8", "UTF-16", "empty", "only dashes",
        "second document empty", "too large", "too deep", "did you mean", "text for a number", "yes for a number",
        "1e3 for a number", "octal", "underscore in a name", "long name", "max 0", "negative", "duration 5",
        "duration in words", "endless duration",
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    shell = Platform(tmp_path_factory.mktemp("bad") / "project")
    shell.project.mkdir()
    (shell.project / "main.py").write_text(
        "import functions_framework as ff\n\n@ff.http\ndef hello(request):\n    return 'hi'\n"
    )
    (shell.project / "function.yaml").write_text(FUNCTION)
    shell.up()
    try:
        yield shell
    finally:
        shell.down()


def refused(platform: Platform, file: Path) -> str:
    """What `apply` says about *file*; nothing may have changed, and it took no time."""
    before = platform.request("GET", "/v1/resources/all")["items"]
    begun = time.monotonic()
    done = platform.evoke("apply", "-f", str(file), check=False)
    took = time.monotonic() - begun
    after = platform.request("GET", "/v1/resources/all")["items"]

    def specs(items: list[dict[str, object]]) -> list[object]:
        return [(one["kind"], one["metadata"], one["spec"]) for one in items]

    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    assert specs(before) == specs(after)
    assert took < LIMIT
    assert all(line.startswith("error: ") for line in done.stderr.splitlines())
    return done.stderr


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_a_mistake_is_one_line_and_changes_nothing(
    platform: Platform, tmp_path: Path, row: tuple[str | bytes, str]
) -> None:
    text, code = row
    file = tmp_path / "bad.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())

    assert f" {code} " in refused(platform, file)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (FUNCTION.replace("v1beta2", "v1beta3"), "E115"),
        (FUNCTION.replace("Function", "function"), "E115"),
        (FUNCTION + "---\n" + FUNCTION, "E117"),
        (FUNCTION + "    template: {hostNetwork: true}\n", "E121"),
        (FUNCTION.replace("http: {}", "dapr: [{name: default, topic: 'a b'}]"), "E122"),
        (
            SOURCE[: SOURCE.index("  mqtt")] + "  cron: {tick: {schedule: '61 * * * *'}}\n",
            "E123",
        ),
        (
            FUNCTION.replace("http: {}", "dapr: [{name: default, topic: a}]")
            + "    outputs: [{dapr: {name: default, topic: a}}]\n",
            "E124",
        ),
        (FUNCTION + f"    handler: {'h' * 1500}\n", "E126"),
        (FUNCTION.replace("  name", f"  annotations: {{a: '{'x' * 300_000}'}}\n  name"), "E113"),
    ],
    ids=["version", "lower case", "twice", "template", "topic", "schedule", "loop", "long handler", "long annotation"],
)
def test_rows_that_need_the_whole_set(platform: Platform, tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(text)

    said = refused(platform, file)
    assert f" {code} " in said
    assert "bad.yaml:" in said


def test_places_that_hold_nothing(platform: Platform, tmp_path: Path) -> None:
    assert " E108 " in refused(platform, tmp_path / "missing.yaml")
    assert " E106 " in refused(platform, tmp_path)
    done = platform.evoke("apply", "-f", "-", text="", check=False)
    assert (done.returncode, "stdin:1: E106 " in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("data", "options", "code", "exit_code"),
    [
        ('{"specversion": "0.3", "type": "t", "source": "/s"}', (), "E141", 2),
        ('{"specversion": "1.0", "type": "t", "source": "/s", "id": ""}', (), "E141", 2),
        ('{"specversion": "1.0", "type": "t", "source": "/s", "x": NaN}', (), "E141", 2),
        ("1", ("--type", "io.evoke.cron.tick"), "E142", 1),
        ("1", ("--bus", "other"), "E194", 1),
    ],
    ids=["version", "empty id", "NaN", "reserved", "bus"],
)
def test_an_event_that_may_not_be_published(
    platform: Platform, data: str, options: tuple[str, ...], code: str, exit_code: int
) -> None:
    done = platform.evoke("publish", "work", "-d", data, *options, check=False)

    (line,) = done.stderr.splitlines()
    assert (done.returncode, done.stdout, line.split()[1]) == (exit_code, "", code)


@pytest.mark.parametrize("subject", ["a b", "a.>", "", "$SYS"])
def test_a_subject_that_no_bus_takes(platform: Platform, subject: str) -> None:
    done = platform.evoke("publish", subject, "-d", "1", check=False)

    (line,) = done.stderr.splitlines()
    assert (done.returncode, line.split()[1]) == ((1, "E142") if subject == "$SYS" else (2, "E122"))


def test_errors_stay_json(platform: Platform) -> None:
    for words, code, exit_code in (
        (("get", "fn", "helo"), "E194", 1),
        (("get", "--nope"), "E162", 2),
        (("nope",), "E161", 2),
        (("apply", "-f", "-"), "E106", 2),
    ):
        done = platform.evoke(*words, "-o", "json", text="", check=False)
        error = json.loads(done.stdout)["error"]
        assert (done.returncode, error["code"], error["exit"]) == (exit_code, code, exit_code)
        assert done.stderr.startswith("error: ")


def test_a_closed_pipe_ends_quietly(platform: Platform) -> None:
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [*EVOKE, "get", "all"], cwd=platform.project, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (141, b"")


@pytest.mark.parametrize(
    "words",
    [("logs", "hello", "-f"), ("get", "fn", "-w"), ("tail", "alarms"), ("top", "-w")],
    ids=lambda words: words[0],
)
def test_ctrl_c_ends_what_follows(platform: Platform, words: tuple[str, ...]) -> None:
    platform.evoke("invoke", "hello")
    with subprocess.Popen(
        [sys.executable, "-X", "importtime", "-m", "cli.app", *words],
        cwd=platform.project,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "cli.transport" in line:  # it is past its imports' first half: a signal finds our handler
                break
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=20)

    assert process.returncode == 130
    assert "Traceback" not in rest


def test_no_colour_and_a_plain_locale(platform: Platform) -> None:
    plain = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "NO_COLOR": "1"}
    done = subprocess.run(
        [*EVOKE, "describe", "fn", "hello"], cwd=platform.project, env=plain, capture_output=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.isascii()
    assert b"\x1b" not in done.stdout
