"""A pipeline that starts all at once, on the real platform: its very first events go all the way."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.events import letters, publish
from tests.platform import started, until

pytestmark = pytest.mark.platform

FUNCTION = """
import os
import functions_framework as ff

CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def step(event):
    os.write(CALLS, (os.environ["STEP"] + "\\n").encode())
    return event.data
"""

MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: step-{number}}}
spec:
  serving:
    triggers: {{dapr: [{{name: default, type: pubsub, topic: stage-{number}}}]}}
    outputs: [{{dapr: {{name: default, type: pubsub, topic: stage-{following}}}}}]
    params: {{CALLS: "{calls}", STEP: "{number}"}}
"""
STEPS = 5


def test_events_published_while_a_pipeline_is_applied_reach_its_end(tmp_path: Path) -> None:
    project, calls = tmp_path / "project", tmp_path / "calls"
    project.mkdir()
    calls.touch()
    (project / "main.py").write_text(FUNCTION)
    first, *others = (MANIFEST.format(number=n, following=n + 1, calls=calls) for n in range(STEPS))
    (project / "function.yaml").write_text(first)

    with started(project) as platform:
        platform.wait_ready("step-0")
        (project / "function.yaml").write_text("---".join([first, *others]))
        platform.evoke("apply", "-f", "function.yaml")
        publish(platform, "stage-0", range(20))
        until(
            lambda: calls.read_text().split().count(str(STEPS - 1)) == 20,
            what="every event at the end of the pipeline",
            deadline=20,
        )
        assert not any(letters(platform, f"step-{n}") for n in range(STEPS))

    assert sorted(calls.read_text().split()) == sorted(str(n) for n in range(STEPS) for _ in range(20))
