"""User code that fails in every way we know of, on one platform: each status says why and where, and nobody else is
disturbed; once the file is right, the function is Ready."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.platform import Platform, until

pytestmark = pytest.mark.platform

GOOD = "import functions_framework as ff\n\n@ff.cloud_event\ndef f(event):\n    pass\n"


class Case(NamedTuple):
    name: str
    files: dict[str, str]
    condition: str
    reason: str
    said: tuple[str, ...]
    serving: str = ""


CASES = (
    Case(
        "missing",
        {"main.py": GOOD.replace("def f", "def g")},
        "Available",
        "HandlerError",
        ("main.py", "named f", "found: g"),
    ),
    Case("uncallable", {"main.py": "f = 3\n"}, "Available", "HandlerError", ("main.py", "f in main.py is a int")),
    Case(
        "arity",
        {"main.py": GOOD.replace("(event)", "()")},
        "Available",
        "HandlerError",
        ("main.py:3", "f()"),
    ),
    Case("syntax", {"main.py": GOOD + "def broken(:\n"}, "Available", "HandlerError", ("main.py:6", "SyntaxError")),
    Case(
        "imports",
        {"main.py": "import nowhere_to_be_found\n" + GOOD},
        "Available",
        "HandlerError",
        ("main.py:1", "nowhere_to_be_found"),
    ),
    Case(
        "exits", {"main.py": GOOD + "import sys\nsys.exit(7)\n"}, "Available", "HandlerError", ("main.py:7", "exit(7)")
    ),
    Case(
        "hangs",
        {"main.py": GOOD + "import time\ntime.sleep(600)\n"},
        "Available",
        "StartTimeout",
        ("main.py:7", "did not end within"),
        "timeout: 2s",
    ),
    Case(
        "eats",
        {"main.py": GOOD + "eaten = bytearray(1 << 30)\n"},
        "Available",
        "OutOfMemory",
        ("main.py:6", "MemoryError"),
        "resources: {limits: {memory: 128Mi}}",
    ),
    Case(
        "option",
        {"main.py": GOOD, "requirements.txt": "\n-e .\n"},
        "Built",
        "BuildFailed",
        ("requirements.txt:2", "E181", "option -e"),
    ),
    Case(
        "path",
        {"main.py": GOOD, "requirements.txt": "x @ file:///etc\n"},
        "Built",
        "BuildFailed",
        ("requirements.txt:1", "E182"),
    ),
    Case(
        "unknown",
        {"main.py": GOOD, "requirements.txt": "evoke-test-of-an-absent-name==9.9.9\n"},
        "Built",
        "BuildFailed",
        ("E183", "evoke-test-of-an-absent-name"),
    ),
    Case("nowhere", {}, "Built", "SourceNotFound", ("nowhere",)),
)
FUNCTION = """---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: {name}}}
spec:
  build: {{srcRepo: {{url: ./{name}}}}}
  serving:
    handler: main:f
    triggers: {triggers}
    {more}
"""
BYSTANDER = """import functions_framework as ff

@ff.http
def f(request):
    return "undisturbed"
"""
DYING = """import os
import functions_framework as ff

@ff.cloud_event
def f(event):
    if event.data["how"] == "exit":
        os._exit(3)
    hoard = bytearray(1 << 30)
"""


class Watched(Platform):
    def up(self) -> None:
        self.evoke("up", "-d")

    def condition(self, function: str, type_: str) -> dict[str, Any]:
        return next((one for one in self.status(function)["conditions"] if one["type"] == type_), {})

    def answer(self) -> str:
        with urllib.request.urlopen(f"http://{self.platform()['http']}/function/default/bystander", timeout=30) as got:
            text: str = got.read().decode()
            return text

    def bystander(self) -> tuple[str, str, int]:
        """What it answers, and the process that serves it."""
        (replica,) = self.replicas("bystander")
        return self.answer(), replica["id"], replica["pid"]


def write(folder: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(content)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    project = tmp_path_factory.mktemp("project")
    one = Watched(project)
    write(project / "bystander", {"main.py": BYSTANDER})
    write(project / "dying", {"main.py": DYING})
    documents = [FUNCTION.format(name=case.name, triggers="{}", more=case.serving) for case in CASES]
    documents.append(FUNCTION.format(name="bystander", triggers="{http: {}}", more="scaleOptions: {minReplicas: 1}"))
    documents.append(
        FUNCTION.format(
            name="dying",
            triggers="{dapr: [{name: default, topic: deaths}]}",
            more="delivery: {retry: 2, backoff: {initial: 50ms}}\n    resources: {limits: {memory: 128Mi}}",
        )
    )
    for case in CASES:
        write(project / case.name, case.files)
    (project / "function.yaml").write_text("".join(documents))
    try:
        one.up()
        one.wait_ready("bystander")
        yield one
    finally:
        one.down()


@pytest.fixture(scope="module")
def before(platform: Watched) -> tuple[str, str, int]:
    return platform.bystander()


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_the_status_says_why_and_a_correction_is_taken(
    platform: Watched, before: tuple[str, str, int], case: Case
) -> None:
    found = until(
        lambda: (one := platform.condition(case.name, case.condition)).get("status") == "False" and one,
        what=f"{case.name} is not {case.condition}",
    )

    assert found["reason"] == case.reason, found
    assert [words for words in case.said if words not in found["message"]] == [], found["message"]
    described = platform.evoke("describe", "function", case.name).stdout
    assert [words for words in (case.reason, *case.said) if words not in described] == [], described
    assert platform.condition(case.name, "Ready")["status"] == "False"

    write(platform.project / case.name, {"main.py": GOOD, "requirements.txt": ""})
    platform.wait_ready(case.name)
    assert platform.bystander() == before


def test_a_broken_save_leaves_the_last_good_revision_serving(platform: Watched) -> None:
    main = platform.project / "bystander" / "main.py"
    for broken, line in ((BYSTANDER + "import nowhere\n", "main.py:6"), ("\n\n\n)", "main.py:4")):
        main.write_text(broken)
        said = until(
            lambda: (one := platform.condition("bystander", "Available")).get("status") == "False" and one["message"],
            what="the broken save is told",
        )
        assert line in said
        assert "goes on" in said
        assert platform.answer() == "undisturbed"
        main.write_text(BYSTANDER)
        platform.wait_ready("bystander")

    assert platform.answer() == "undisturbed"


def test_a_handler_that_ends_its_process_ends_in_the_dead_letters(
    platform: Watched, before: tuple[str, str, int]
) -> None:
    platform.wait_ready("dying")
    platform.evoke("publish", "deaths", "-d", '{"how": "exit"}')
    until(lambda: platform.status("dying")["deadLetters"] == 1, what="given up")
    found = platform.condition("dying", "Available")

    assert found["reason"] == "CrashLoop", found
    assert "exit code 3" in found["message"]
    assert "2" in platform.evoke("dead-letters", "list", "dying").stdout

    platform.evoke("publish", "deaths", "-d", '{"how": "memory"}')
    until(lambda: platform.status("dying")["deadLetters"] == 2, what="given up too")
    assert "MemoryError" in platform.evoke("dead-letters", "list", "dying", "-o", "json").stdout
    platform.wait_ready("dying")
    assert platform.answer() == "undisturbed"
