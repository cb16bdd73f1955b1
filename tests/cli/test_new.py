"""`evoke new`: what it makes works as it is, and is never written over anything."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from api import documents
from cli.commands.new import Template
from tests.cli.conftest import Evoke

ROOT = Path(__file__).resolve().parents[2]


def test_the_line_of_the_transcript(evoke: Evoke, project: Path) -> None:
    said = evoke("new", "sensors", "-t", "mqtt")

    assert (said.code, said.err) == (0, "")
    assert said.out == "created main.py function.yaml test_main.py        next: evoke up\n"
    assert sorted(path.name for path in (project / "sensors").iterdir()) == ["function.yaml", "main.py", "test_main.py"]


def test_the_break_of_the_transcript_is_in_line_9(evoke: Evoke, project: Path) -> None:
    evoke("new", "sensors", "-t", "mqtt")
    source = project / "sensors" / "main.py"
    good = source.read_text()

    subprocess.run(["sed", "-i", "s/celsius/celcius/", str(source)], check=True)
    broken = source.read_text()
    subprocess.run(["sed", "-i", "s/celcius/celsius/", str(source)], check=True)

    differing = [
        number
        for number, pair in enumerate(zip(good.splitlines(), broken.splitlines(), strict=True), 1)
        if len({*pair}) > 1
    ]
    assert differing == [9]
    assert source.read_text() == good
    compile(broken, "main.py", "exec")


@pytest.mark.parametrize(("template", "name"), [*((one, "low-battery") for one in Template), (Template.http, "class")])
def test_what_it_makes_is_valid_and_its_test_passes(evoke: Evoke, project: Path, template: Template, name: str) -> None:
    assert evoke("new", name, "-t", template).code == 0
    folder = project / name

    found = documents.read([folder])
    done = subprocess.run(
        [sys.executable, "-W", "error", "test_main.py"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "Function" in {one.info.kind for one in found}
    assert (done.returncode, done.stdout) == (0, "ok\n"), done.stderr


def test_its_test_passes_under_pytest_too(evoke: Evoke, project: Path) -> None:
    evoke("new", "sensors", "-t", "mqtt")

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=project / "sensors",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout


def test_it_never_overwrites(evoke: Evoke, project: Path) -> None:
    (project / "sensors").mkdir()
    (project / "sensors" / "main.py").write_text("mine")

    said = evoke("new", "sensors")

    assert said.code == 1
    assert said.err == "error: E168 sensors/main.py is there already; choose another name, or remove it\n"
    assert [path.name for path in (project / "sensors").iterdir()] == ["main.py"]
    assert (project / "sensors" / "main.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["Sensors", "a..b", "-a", "a/b", "../x", "9x", "x" * 64])
def test_a_name_that_no_resource_could_have_is_refused(evoke: Evoke, name: str) -> None:
    said = evoke("new", "--", name)

    assert said.code == 2
    assert said.err.startswith(f"error: E112 '{name}' cannot be a name")


def test_the_templates_are_listed(evoke: Evoke) -> None:
    assert [line.split()[0] for line in evoke("new", "--list").out.splitlines()] == [*Template]
