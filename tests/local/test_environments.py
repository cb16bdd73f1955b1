"""Environments are made by the real uv, once, and hold the tool's own framework."""

import asyncio
import stat
import subprocess

import pytest

from builder.errors import NoEnvironment
from controller.local.environments import Environments, _reason, link

IMPORTS = "functions_framework, msgspec, uvloop, httptools, uvicorn, werkzeug, click"
PROBE = f"import {IMPORTS}; print(functions_framework.__file__)"


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    return tmp_path_factory.mktemp("environments")


def test_makers_at_the_same_time_share_one_environment(directory, tmp_path):
    async def go():
        one, two = Environments(directory), Environments(directory)  # two platforms of one user
        return await asyncio.gather(one.ensure(), one.ensure(), two.ensure())

    first, second, third = asyncio.run(go())

    assert first == second == third
    assert [path.name for path in directory.iterdir()] == [first.path.name]
    output = subprocess.run([first.python, "-c", PROBE], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert output.stdout.startswith(str(first.path))
    assert stat.S_IMODE(first.path.stat().st_mode) == 0o755


def test_an_environment_holds_nothing_of_the_platform(directory, tmp_path):
    made = asyncio.run(Environments(directory).ensure())

    for package in ("api", "controller", "gateway", "nats", "typer"):
        failed = subprocess.run(
            [made.python, "-c", f"import {package}"], cwd=tmp_path, capture_output=True, check=False
        )
        assert failed.returncode == 1, package


def test_requirements_make_another_digest():
    environments = Environments()

    assert environments.digest(("idna",)) != environments.digest()
    assert environments.digest(("idna",)) != environments.digest(("idna",), framework=False)
    assert environments.digest(framework=False) == environments.digest()


def test_the_installer_is_quoted_in_one_line():
    text = "Using Python 3.11\n  × No solution found:\n  ╰─▶ Because nope was not found\n      in the registry\n"

    assert _reason(text) == "No solution found: Because nope was not found in the registry"


def test_a_failed_environment_leaves_nothing(directory):
    before = sorted(directory.iterdir())

    with pytest.raises(NoEnvironment, match="E183"):
        asyncio.run(Environments(directory).ensure(("msgspec<0.1",)))  # the framework needs a newer one
    assert sorted(directory.iterdir()) == before


def test_the_editor_link_moves_atomically(directory, tmp_path):
    made = asyncio.run(Environments(directory).ensure())
    link(tmp_path / "env", made)
    link(tmp_path / "env", made)

    assert (tmp_path / "env" / "bin" / "python").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["env"]
