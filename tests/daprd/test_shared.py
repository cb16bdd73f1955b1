"""One daprd for all functions: its app is our gateway, which wakes them and holds what comes until they are there."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.daprd.function import SOURCE
from tests.daprd.sidecar import Bus, Daprd, subscription
from tests.platform import started, until

pytestmark = pytest.mark.platform

FUNCTION = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: {name}}}
spec:
  serving:
    handler: {handler}
    params: {{RECORD: "{record}"}}
    triggers: {{http: {{}}}}
"""


def calls(record: Path) -> list[Any]:
    return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []


@pytest.mark.parametrize("broker", ["kafka", "mqtt"])
def test_functions_at_zero_share_a_daprd(
    request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack, broker: str
) -> None:
    bus: Bus = request.getfixturevalue(broker)
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text(SOURCE)
    records = {}
    for name, handler in (("first", "record"), ("second", "gather")):
        records[name] = project / f"{name}.jsonl"
        text = FUNCTION.format(name=name, handler=handler, record=records[name])
        (project / f"{name}.yaml").write_text(text)
    platform = stack.enter_context(started(project))
    platform.wait_ready("first", "second")
    assert platform.replicas("first") == platform.replicas("second") == []

    gateway = int(platform.platform()["http"].rpartition(":")[2])
    routes = [
        subscription("shared-first", route="/function/default/first/"),
        subscription("shared-second", bulk=True, route="/function/default/second/"),
    ]
    daprd = Daprd(tmp_path / "daprd", "shared", [bus(["shared-first", "shared-second"]), *routes], app=gateway)
    stack.callback(daprd.stop)
    daprd.start()
    daprd.publish("shared-first", {"n": 1})
    for number in range(5):
        daprd.publish("shared-second", {"n": number})

    until(lambda: len(calls(records["first"])) == 1, what="the event of the first function")
    until(lambda: sum(map(len, calls(records["second"]))) == 5, what="the events of the second function")
    assert calls(records["first"])[0]["data"] == {"n": 1}
    seen = [event["data"]["n"] for call in calls(records["second"]) for event in call]
    assert sorted(seen) == list(range(5))
