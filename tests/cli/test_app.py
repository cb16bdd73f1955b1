"""Exit codes, one-line errors, did-you-mean, streams that close, encodings: what every command shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.app import NAMES, load, split_leading
from tests.cli import fake
from tests.cli.conftest import Evoke

EVOKE = (sys.executable, "-m", "cli.app")


def test_help_names_every_command_and_loads_none(evoke: Evoke) -> None:
    said = evoke("--help")

    assert said.code == 0
    assert all(f"  {name} " in said.out for name in NAMES)


def test_help_and_version_load_nothing_heavy() -> None:
    """Start-up time, measured by its cause."""
    script = "import sys; from cli.app import main; main(['--help']); main(['version']); print(*sys.modules)"

    loaded = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout.split()

    assert {"typer", "pydantic", "rich", "yaml", "asyncio"} & {*loaded} == set()


def test_no_words_is_a_usage_error_with_the_overview_on_stderr(evoke: Evoke) -> None:
    said = evoke()

    assert (said.code, said.out) == (2, "")
    assert "usage: evoke COMMAND" in said.err


@pytest.mark.parametrize("name", NAMES)
def test_every_command_explains_itself_with_an_example(evoke: Evoke, name: str) -> None:
    said = evoke(name, "--help")

    assert said.code == 0
    assert f"Usage: evoke {name}" in said.out
    assert "example: evoke" in said.out or "example: source" in said.out or "Commands:" in said.out


@pytest.mark.parametrize("name", NAMES)
def test_every_command_takes_the_common_options(name: str) -> None:
    import typer

    tree = typer.main.get_command(load(name))
    for command in getattr(tree, "commands", {"": tree}).values():
        options = {option for parameter in command.params for option in parameter.opts}

        assert {"-n", "--namespace", "--on", "-o", "--output", "-q", "--no-color"} <= options


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["upp"], "error: E161 no command named 'upp'; did you mean 'up'?"),
        (["start"], "error: E161 no command named 'start'; did you mean 'up'?"),
        (["zzz"], "error: E161 no command named 'zzz'; see `evoke --help`"),
        (["--frobnicate"], "error: E161 no option named '--frobnicate'; see `evoke --help`"),
        (["get", "--selectr", "a=b"], "error: E162 no such option: --selectr; did you mean '--selector'?"),
        (["get", "functoins"], "error: E163 no kind 'functoins'; did you mean 'functions'?"),
        (["get", "secrets"], "error: E163 secrets are not listed with the resources; use `evoke secret list`"),
        (["invoke"], "error: E162 missing argument 'FUNCTION'; see `evoke invoke --help`"),
        (["secret", "lisst"], "error: E162 no such command 'lisst'; did you mean 'list'?"),
        (["secret"], "error: E162 missing command; see `evoke secret --help`"),
        (["scale", "f", "--min", "x"], None),
        (["get", "-o", "xml"], None),
        (["use", "k8s:prod"], "error: E166 no target 'k8s:prod'; use local or kube:CONTEXT"),
        (["use", "kube"], "error: E166 no target 'kube'; kube needs a context: kube:CONTEXT"),
    ],
)
def test_a_slip_is_one_line_and_exit_2(evoke: Evoke, words: list[str], line: str | None) -> None:
    said = evoke(*words)

    assert said.code == 2
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("error: E1")
    if line is not None:
        assert said.err == line + "\n"


def test_without_a_platform_the_next_step_is_named(evoke: Evoke, project: Path) -> None:
    said = evoke("get", "functions")

    assert said.code == 1
    assert said.err == (f"error: E191 no .evoke folder in {project} or above it; start one here with `evoke up`\n")


def test_a_platform_that_does_not_run_is_said_so(evoke: Evoke, project: Path) -> None:
    (project / ".evoke").mkdir()

    said = evoke("get", "functions")

    assert (said.code, said.err) == (1, "error: E191 the platform does not run; start it with `evoke up`\n")


def test_kubernetes_comes_later(evoke: Evoke) -> None:
    said = evoke("get", "functions", "--on", "kube:prod")

    assert said.code == 1
    assert "E199 a Kubernetes target (kube:prod) is not in this release" in said.err


def test_common_options_may_stand_first() -> None:
    assert split_leading(["-n", "red", "-o=json", "get", "-w"]) == (["-n", "red", "-o=json"], ["get", "-w"])


def test_common_options_reach_a_subcommand(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/secrets", {"items": [{"name": "broker", "keys": ["password"]}]})

    said = evoke("-o", "json", "secret", "list")

    assert json.loads(said.out) == {"items": [{"name": "broker", "keys": ["password"]}]}


def test_a_reader_that_goes_away_is_141(project: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([*EVOKE, "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_any_locale_can_print_anything(project: Path, platform: fake.Platform, encoding: str) -> None:
    item = fake.resource("Function", "über", status={"url": "http://x/→"})
    platform.on("GET", "/v1/resources/function", {"items": [item]})
    environment = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}

    table = subprocess.run([*EVOKE, "get", "functions"], env=environment, capture_output=True, check=False)
    listed = subprocess.run([*EVOKE, "get", "fn", "-o", "json"], env=environment, capture_output=True, check=False)

    assert (table.returncode, table.stderr) == (0, b"")
    assert json.loads(listed.stdout)["items"][0]["metadata"]["name"] == "über"


def test_nothing_is_coloured_for_a_pipe(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "hello")]})

    assert "\x1b" not in evoke("get", "functions").out


def test_an_error_of_ours_is_a_line_too(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/platform", {})

    said = evoke("invoke", "hello")

    assert said.code == 1
    assert said.err.startswith("error: E198 KeyError: 'http'; please report it")


def test_completion_offers_commands_options_kinds_and_names(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "on-reading")]})

    assert evoke("__complete", "de").out.split() == ["describe", "delete", "dead-letters", "deploy"]
    assert evoke("__complete", "get", "--sh").out.split() == ["--show-labels"]
    assert evoke("__complete", "get", "event").out.split() == ["eventbuses", "eventsources"]
    assert evoke("__complete", "describe", "fn", "").out.split() == ["on-reading"]
    assert evoke("__complete", "secret", "l").out.split() == ["list"]
    assert evoke("__complete", "nonsense", "").out == ""


def test_completion_scripts_are_valid(evoke: Evoke) -> None:
    script = evoke("completion", "bash").out

    assert subprocess.run(["bash", "-n"], input=script, text=True, check=False).returncode == 0
    assert evoke("completion", "tcsh").code == 2
