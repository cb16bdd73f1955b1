"""What belongs to a project, what a save changes, and where commands act."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli import documents, project, readiness, target
from cli.errors import Usage
from tests.cli import fake
from tests.cli.conftest import Evoke

FUNCTION = (
    "apiVersion: core.openfunction.io/v1beta2\nkind: Function\nmetadata: {name: f}\nspec: {serving: {triggers: {}}}\n"
)


def test_the_transcript_watches_two_files(evoke: Evoke, project: Path) -> None:
    from cli.project import files

    evoke("new", "sensors", "-t", "mqtt")

    assert sorted(path.name for path in files(project / "sensors")) == ["function.yaml", "main.py"]


def test_tools_and_tests_are_not_watched(tmp_path: Path) -> None:
    for name in (".git/x.py", ".evoke/env/y.py", "__pycache__/z.py", "tests/t.py", "test_a.py", "a.log", "pkg/b.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()

    assert [path.relative_to(tmp_path) for path in project.files(tmp_path)] == [Path("pkg/b.py")]


def test_a_change_names_what_came_went_and_differs(tmp_path: Path) -> None:
    for name in ("a.py", "b.py", "c.py"):
        (tmp_path / name).write_text("1")
    before = project.stamps(tmp_path)

    (tmp_path / "a.py").write_text("12")
    (tmp_path / "b.py").unlink()
    (tmp_path / "d.py").touch()
    os.utime(tmp_path / "c.py", ns=(1, 1))

    found = project.change(before, project.stamps(tmp_path))
    assert [path.name for path in found.files] == ["a.py", "b.py", "c.py", "d.py"]
    assert not project.change(before, before)


def test_other_tools_yaml_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "function.yaml").write_text(FUNCTION)
    (tmp_path / "package.json").write_text("{}")
    (tmp_path / "compose.yaml").write_text("services: {}\n")
    (tmp_path / "deploy").mkdir()
    (tmp_path / "deploy" / "x.yaml").write_text(FUNCTION)

    found = documents.load_project(tmp_path, namespace="red")

    assert [one["file"] for one in found] == [str(tmp_path / "function.yaml")]
    assert found[0]["resource"]["metadata"]["namespace"] == "red"


def test_the_label_is_one_folder_and_a_valid_value(tmp_path: Path) -> None:
    odd = tmp_path / ("Ünder_score " * 10)

    assert project.label(tmp_path / "a") != project.label(tmp_path / "b")
    assert len(project.label(odd)) <= 63
    assert project.label(odd).replace("-", "a").isalnum()


def test_commands_find_the_state_above(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EVOKE_STATE", raising=False)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / ".evoke").mkdir()

    assert target.find_state(inner) == tmp_path / ".evoke"
    monkeypatch.setenv("EVOKE_STATE", str(tmp_path / "elsewhere"))
    assert target.find_state(inner) == tmp_path / "elsewhere"


def test_use_is_remembered_and_on_wins(evoke: Evoke, project: Path) -> None:
    assert evoke("use", "kube:staging").code == 0
    assert (project / ".evoke" / "target").read_text() == "kube:staging\n"
    assert evoke("use").out.startswith("kube:staging (state ")
    assert "E199 a Kubernetes target (kube:staging)" in evoke("get", "functions").err
    assert "E191 the platform does not run" in evoke("get", "functions", "--on", "local").err
    assert evoke("use", "local").out == "commands here act on local\n"


@pytest.mark.parametrize("text", ["", "kube:", "kube", "docker", "local:x"])
def test_a_target_is_local_or_a_context(text: str) -> None:
    with pytest.raises(Usage):
        target.parse(text)


def test_each_kind_says_what_it_is() -> None:
    sink = {"ref": {"kind": "Function", "name": "on-reading"}}
    source = fake.resource("EventSource", "readings") | {
        "spec": {"mqtt": {"sensors": {"topic": "sensors/#"}}, "sink": sink}
    }
    function = fake.resource("Function", "on-reading") | {"spec": {"serving": {"triggers": {}}}}
    bus = fake.resource("EventBus", "default")
    bus["status"]["conditions"].append({"type": "Connected", "status": "True", "message": "nats 2.15, on disk"})
    broken = fake.resource("Function", "zoo", ready="False", reason="HandlerError")

    assert readiness.line(bus) == "eventbus/default        ready    nats 2.15, on disk"
    assert readiness.line(source) == (
        "eventsource/readings    ready    mqtt sensors/# -> function/on-reading, through eventbus/default"
    )
    assert readiness.line(function, {"revisions": [{"name": "00001"}], "replicas": []}) == (
        "function/on-reading     ready    revision 00001, 0 replicas (starts on the first event)"
    )
    assert readiness.line(function, {"revisions": [{"name": "00002"}], "replicas": [{"phase": "ready"}]}) == (
        "function/on-reading     ready    revision 00002, 1 replica"
    )
    assert readiness.line(broken) == "function/zoo            problem  HandlerError"
    trigger = fake.resource("Trigger", "hot")
    trigger["spec"] = {
        "inputs": {"a": {"eventSource": "plant", "event": "readings"}},
        "subscribers": [{"sink": sink, "topic": "next"}, {"sink": {"uri": "http://h:80/x?token=t"}}, {"sink": sink}],
    }
    assert readiness.line(trigger).endswith("plant/readings -> function/on-reading, topic/next, h:80")


def test_a_start_passes_through_reasons_that_are_no_end() -> None:
    assert readiness.settled(fake.resource("Function", "f"))
    assert readiness.settled(fake.resource("Function", "f", ready="False", reason="HandlerError"))
    assert not readiness.settled(fake.resource("Function", "f", ready="False", reason="BusUnreachable"))
    assert not readiness.settled(fake.resource("Function", "f", ready="Unknown", reason="Building"))
    assert readiness.building(fake.resource("Function", "f", ready="Unknown", reason="Building"))
    assert not readiness.building(fake.resource("EventSource", "s", ready="False", reason="Unreachable"))
    stale = fake.resource("Function", "f")
    stale["metadata"]["generation"] = 2
    assert not readiness.settled(stale)


def test_resources_are_told_in_the_order_in_which_work_flows() -> None:
    names = ["function/a", "trigger/t", "eventsource/s", "eventbus/default", "function/b"]

    assert readiness.in_order(names) == ["eventbus/default", "eventsource/s", "trigger/t", "function/a", "function/b"]


def test_its_own_output_is_no_save(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from cli import project; "
        "print([path.name for path in project.stamps(Path(sys.argv[1]))], file=sys.stderr)"
    )
    (tmp_path / "main.py").write_text("")
    with (tmp_path / "up.txt").open("w") as out:
        done = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], stdout=out, stderr=subprocess.PIPE, text=True, check=True
        )

    assert done.stderr == "['main.py']\n"


def test_output_into_the_code_is_refused(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from cli.project import output_inside; raise SystemExit(output_inside(Path()) or 0)"
    )
    said = {}
    for name in ("up.log", ".up.log"):
        with (tmp_path / name).open("w") as out:
            done = subprocess.run(
                [sys.executable, "-c", code], cwd=tmp_path, stdout=out, stderr=subprocess.PIPE, text=True, check=False
            )
        said[name] = done.stderr

    assert said == {"up.log": "up.log\n", ".up.log": ""}
