"""Several subscriptions of one topic: each gets all of it once, and one that fails holds up nobody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.events import letters, publish
from tests.platform import started, until

pytestmark = pytest.mark.platform
EVENTS = 400

FUNCTION = """
import json, os
import functions_framework as ff

CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def work(event):
    os.write(CALLS, (json.dumps([os.environ["ME"], event["partitionkey"], event.data]) + "\\n").encode())
    if os.environ["ME"] == "failing" and event.data % 32 == 0:
        raise RuntimeError("always the same ones")
"""

MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: {name}}}
spec:
  serving:
    triggers: {{dapr: [{{name: default, type: pubsub, topic: {topic}}}]}}
    params: {{CALLS: "{calls}", ME: {name}}}
    delivery: {{retry: 2, backoff: {{initial: 20ms, cap: 20ms}}}}
    scaleOptions: {{minReplicas: 1, maxReplicas: 1}}
"""
TOPICS = {"first": "jobs", "second": "jobs", "failing": "jobs", "elsewhere": "others"}


def test_a_failing_neighbour_costs_nobody_anything(tmp_path: Path) -> None:
    project, calls = tmp_path / "project", tmp_path / "calls"
    project.mkdir()
    calls.touch()
    (project / "main.py").write_text(FUNCTION)
    functions = (MANIFEST.format(name=name, topic=topic, calls=calls) for name, topic in TOPICS.items())
    (project / "function.yaml").write_text("---".join(functions))

    def handled(name: str) -> list[tuple[str, int]]:
        lines = [json.loads(line) for line in calls.read_text().splitlines()]
        return [(key, number) for me, key, number in lines if me == name]

    with started(project) as platform:
        platform.wait_ready(*TOPICS)
        publish(platform, "jobs", range(EVENTS), keys=8)
        for name in ("first", "second"):
            until(lambda name=name: len(handled(name)) >= EVENTS, what=f"all events at {name}")
        until(lambda: len(letters(platform, "failing")) == len(range(0, EVENTS, 32)), what="what always fails given up")
        found = letters(platform, "failing")

    for name in ("first", "second"):
        assert sorted(number for _, number in handled(name)) == list(range(EVENTS)), "each once"
        for key in {key for key, _ in handled(name)}:
            mine = [number for one, number in handled(name) if one == key]
            assert mine == sorted(mine)
    assert handled("elsewhere") == []
    assert sorted(int(letter["event"]["id"]) for letter in found) == list(range(0, EVENTS, 32))
    assert {(letter["reason"], letter["attempts"]) for letter in found} == {("max-attempts", 2)}
