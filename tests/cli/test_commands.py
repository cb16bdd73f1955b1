"""Each command against a platform that answers from a table: what it asks for, what it prints, how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from api.kinds import NAMES
from cli import kinds
from tests.cli import fake
from tests.cli.conftest import Evoke

YAML = """\
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata:
  name: hello
spec:
  serving:
    triggers:
      http: {}
"""
STATUS = {"replicas": 2, "revisions": [{"name": "00001"}, {"name": "00002"}], "addresses": [{"value": "http://h/x"}]}
FUNCTIONS = "/v1/functions/default/hello"
RESOURCE = "/v1/resources/function/default/hello"


def test_kinds_are_those_of_the_api() -> None:
    known = {name: info.singular for name, info in NAMES.items() if info.kind != "Secret"}

    ours = {name: kind for kind, names in kinds.ALIASES.items() for name in (kind, *names)}
    assert {name: kind for name, kind in ours.items() if name in known} == known
    assert {NAMES[kind].plural for kind in kinds.ORDER} == {kinds.plural(kind) for kind in kinds.ORDER}


def test_get_lists_in_columns(evoke: Evoke, platform: fake.Platform) -> None:
    items = [
        fake.resource("Function", "zoo", ready="False", reason="HandlerError"),
        fake.resource("Function", "hello", status=STATUS),
    ]
    platform.on("GET", "/v1/resources/function", {"items": items})

    said = evoke("get", "fn", "-l", "team=red")

    assert said.out.splitlines() == [
        "NAME   READY               REVISION  REPLICAS  URL         AGE",
        "hello  True                00002     2         http://h/x  -",
        "zoo    False/HandlerError  -         -         -           -",
    ]
    assert platform.asked[0][1] == "/v1/resources/function?namespace=default&labels=team%3Dred"
    assert json.loads(evoke("get", "fn", "-o", "json").out)["items"][0]["metadata"]["name"] == "hello"


def test_get_all_names_the_kind_of_each(evoke: Evoke, platform: fake.Platform) -> None:
    found = [fake.resource("Function", "hello"), fake.resource("EventBus", "default")]
    platform.on("GET", "/v1/resources/all", {"items": found})

    assert [line.split()[:2] for line in evoke("get", "all").out.splitlines()[1:]] == [
        ["function/hello", "True"],
        ["eventbus/default", "True"],
    ]


def test_nothing_there_is_no_error_and_stays_json(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": []})

    said = evoke("get", "functions")

    assert (said.code, said.out, said.err) == (0, "", "no functions in namespace default\n")
    assert json.loads(evoke("get", "functions", "-o", "json").out) == {"items": []}


@pytest.mark.parametrize("words", [("describe", "function", "helo"), ("logs", "helo"), ("scale", "helo", "--min", "1")])
def test_a_mistyped_name_finds_the_nearest(evoke: Evoke, platform: fake.Platform, words: tuple[str, ...]) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "hello")]})

    said = evoke(*words)

    assert (said.code, said.out) == (1, "")
    assert said.err == "error: E194 no function named 'helo' in namespace default; did you mean 'hello'?\n"


def test_describe_begins_with_what_matters(evoke: Evoke, platform: fake.Platform) -> None:
    line = "1 replica of 0..10, by Evoke: in-flight 0, lag 0, to zero in 4 min 50 s"
    scaling = {"line": line, "desired": 1, "because": "nothing waits", "limiter": "cooldown", "inputs": {"credit": 1.0}}
    resource = fake.resource("Function", "hello")
    platform.on("GET", RESOURCE, resource)
    revision = {"name": "00001", "ready": True, "replicas": 1, "traffic": 100, "problem": ""}
    facts = {"scaling": scaling, "revisions": [revision], "deadLetters": 3, "url": "http://h/x"}
    platform.on("GET", f"{FUNCTIONS}/status", {**facts, "conditions": resource["status"]["conditions"]})

    lines = evoke("describe", "function/hello").out.splitlines()

    assert lines[:3] == [f"Ready True · {line} · dead letters 3", "", ""]
    assert "00001     True   1         100 %    -    -" in lines
    assert "scaling    1 wanted: nothing waits; limited by cooldown" in lines
    assert lines[-1] == "next       evoke dead-letters list hello"


def test_describe_says_why_not(evoke: Evoke, platform: fake.Platform) -> None:
    resource = fake.resource("EventSource", "readings", ready="False", reason="Unreachable")
    resource["status"]["conditions"][0]["message"] = "mqtt.example:1883 does not answer"
    platform.on("GET", "/v1/resources/eventsource/default/readings", resource)

    headline = evoke("describe", "es", "readings").out.splitlines()[0]

    assert headline == "Ready False Unreachable: mqtt.example:1883 does not answer"


def test_apply_sends_what_the_files_say(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "function.yaml").write_text(YAML)
    warning = {"code": "E150", "path": "spec.x", "message": "not yet"}
    result = {"kind": "Function", "namespace": "default", "name": "hello", "outcome": "created", "warnings": [warning]}
    platform.on("POST", "/v1/apply", {"results": [result]})

    said = evoke("apply", "-f", "function.yaml", "--dry-run")

    assert (said.code, said.out) == (0, "function/hello created (dry run)\n")
    assert said.err == "warning: function/hello: E150 spec.x: not yet\n"
    sent = platform.bodies("POST")[0]
    assert sent["dryRun"] is True
    assert sent["documents"][0]["file"] == str(project / "function.yaml")
    assert sent["documents"][0]["resource"]["metadata"]["namespace"] == "default"


def test_apply_tells_every_mistake_and_asks_nobody(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "function.yaml").write_text(YAML.replace("triggers", "trigers").replace("hello", "Hello"))

    said = evoke("apply", "-f", "function.yaml", "-o", "json")

    assert (said.code, platform.asked) == (2, [])
    assert [one["path"] for one in json.loads(said.out)["error"]["problems"]] == [
        "metadata.name",
        "spec.serving.trigers",
    ]
    assert len(said.err.splitlines()) == 2
    assert all(line.startswith("error: function.yaml:") for line in said.err.splitlines())
    assert "did you mean" in said.err


def test_apply_prints_what_the_platform_refused(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / "function.yaml").write_text(YAML)
    file = str(project / "function.yaml")
    problem = {"code": "E127", "message": "cannot be changed", "path": "spec.kind", "file": file, "line": 4}
    platform.on("POST", "/v1/apply", {"problems": [problem]}, status=422)

    said = evoke("apply", "-f", "function.yaml")

    assert (said.code, said.err) == (2, "error: function.yaml:4: E127 spec.kind: cannot be changed\n")


@pytest.mark.parametrize("path", ["missing.yaml", "empty.yaml", "folder"])
def test_apply_of_nothing_is_one_line(evoke: Evoke, platform: fake.Platform, project: Path, path: str) -> None:
    (project / "empty.yaml").write_text("---\n")
    (project / "folder").mkdir()

    said = evoke("apply", "-f", path)

    assert (said.code, said.err.count("\n"), platform.asked) == (2, 1, [])
    assert path in said.err


def test_delete_of_what_is_not_there_may_be_ignored(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": []})

    assert evoke("delete", "function", "hello").code == 1
    assert evoke("delete", "function", "hello", "--ignore-not-found").code == 0
    platform.on("DELETE", RESOURCE, {})
    assert evoke("delete", "function", "hello").out == "function/hello deleted\n"


def test_delete_by_labels_asks_first(evoke: Evoke, platform: fake.Platform) -> None:
    platform.on("GET", "/v1/resources/function", {"items": [fake.resource("Function", "hello")]})
    platform.on("DELETE", RESOURCE, {})

    said = evoke("delete", "functions", "-l", "team=red")

    assert (said.code, platform.bodies("DELETE")) == (2, [])
    assert said.err == "error: E165 this asks before it acts, and there is no terminal; add --yes\n"
    assert evoke("delete", "functions", "-l", "team=red", "--yes").out == "function/hello deleted\n"


def test_doctor_finds_what_others_may_read(evoke: Evoke, platform: fake.Platform, project: Path) -> None:
    (project / ".evoke").chmod(0o700)
    (project / ".evoke" / "platform.json").write_text("{}")
    (project / ".evoke" / "platform.json").chmod(0o644)

    said = evoke("doctor")

    assert said.code == 1
    assert "privacy        problem  .evoke/platform.json is readable by others: chmod go= it" in said.out
    assert said.err.endswith("error: E195 1 check failed: privacy\n")
