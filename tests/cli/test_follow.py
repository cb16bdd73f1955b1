"""What `evoke up` does after a save: apply once, tell a mistake once, leave what is there."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from api.platform import run_directory
from cli import start
from cli.follow import Applied, Happenings, follow, reapply
from cli.narrate import Narrator
from cli.output import Output
from tests.cli import fake

YAML = (
    "apiVersion: core.openfunction.io/v1beta2\nkind: Function\nmetadata: {name: f}\nspec: {serving: {triggers: {}}}\n"
)
DEADLINE = 10.0


def steps(*actions: Callable[[], bool]) -> Callable[[], bool]:
    """``running`` of a follow() that ends when every action, in turn, has said that it is done."""
    left, end = list(actions), time.monotonic() + DEADLINE

    def running() -> bool:
        assert time.monotonic() < end, f"{len(left)} steps left"
        while left and left[0]():
            left.pop(0)
        return bool(left)

    return running


def test_a_saved_manifest_is_applied_and_code_is_not(
    project: Path, platform: fake.Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "main.py").write_text("1")
    (project / "function.yaml").write_text(YAML)
    pruned = {"kind": "Function", "namespace": "default", "name": "old", "outcome": "pruned"}
    platform.on("POST", "/v1/apply", {"results": [pruned]})
    platform.on("GET", "/v1/watch", fake.Lines())
    client = start.client(project / ".evoke", "default")

    def save(name: str, text: str) -> Callable[[], bool]:
        def act() -> bool:
            (project / name).write_text(text)
            return True

        return act

    follow(
        Output(),
        Narrator(),
        Happenings(client),
        folder=project,
        applied=Applied(project, client, prune=True),
        running=steps(
            save("main.py", "12"), save("function.yaml", YAML + "# more\n"), lambda: bool(platform.bodies("POST"))
        ),
    )

    (sent,) = platform.bodies("POST")
    assert sent["prune"] is True
    assert sent["project"].startswith(project.name.lower().replace("_", "-")[:10])
    assert capsys.readouterr().err == "function/old removed\n"


def test_a_mistake_is_told_and_nothing_is_sent(
    project: Path, platform: fake.Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "function.yaml").write_text(YAML.replace("triggers", "trigers"))

    reapply(Output(), Applied(project, start.client(project / ".evoke", "default"), prune=True))

    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("error: function.yaml:4: E110 spec.serving.trigers:")
    assert said[-1] == "nothing was changed; save again when it is fixed"
    assert platform.asked == []


def test_happenings_are_told_as_they_come(
    project: Path, platform: fake.Platform, capsys: pytest.CaptureFixture[str]
) -> None:
    log = {"at": "2026-01-01T00:00:00Z", "resource": "function/f", "type": "log", "data": {"message": "hot"}}
    platform.on("GET", "/v1/watch", fake.Lines([log]))
    said: list[str] = []

    def told() -> bool:
        said.append(capsys.readouterr().out)
        return "f  hot\n" in "".join(said)

    happenings = Happenings(start.client(project / ".evoke", "default"))
    follow(Output(), Narrator(), happenings, folder=project, applied=None, running=steps(told))


def test_nobody_holds_a_state_that_was_never_started(project: Path) -> None:
    assert start.holder(project / ".evoke") is None
    assert not run_directory(project / ".evoke").exists()
