"""A plain handler that never returns, on the real platform: it costs its own attempts and replicas, nothing else."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.events import letters, publish
from tests.platform import started, until

pytestmark = pytest.mark.platform

EVENTS, POISON = 30, 13

FUNCTION = """
import json, os, time
import functions_framework as ff

STARTS = os.open(os.environ["STARTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def work(event, context):
    os.write(STARTS, (json.dumps([event.data, context.attempt, os.getpid()]) + "\\n").encode())
    if event.data == 13:
        time.sleep(3600)
"""

MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: work}}
spec:
  serving:
    triggers: {{dapr: [{{name: default, type: pubsub, topic: jobs}}]}}
    concurrency: {concurrency}
    params: {{STARTS: "{starts}"}}
    delivery: {{retry: 3, timeout: 1s, backoff: {{initial: 50ms}}}}
"""


@pytest.mark.parametrize("concurrency", [1, 4])
def test_a_handler_that_never_returns_ends_in_the_dead_letters_alone(tmp_path: Path, concurrency: int) -> None:
    project, starts = tmp_path / "project", tmp_path / "starts"
    project.mkdir()
    (project / "main.py").write_text(FUNCTION)
    (project / "function.yaml").write_text(MANIFEST.format(starts=starts, concurrency=concurrency))

    def handled() -> list[list[int]]:
        """Number, attempt and process of every call that began."""
        return [json.loads(line) for line in starts.read_text().splitlines()]

    with started(project) as platform:
        platform.wait_ready("work")
        publish(platform, "jobs", range(EVENTS))
        until(lambda: {n for n, _, _ in handled()} == set(range(EVENTS)), what="every event started")
        until(lambda: letters(platform, "work"), what="the poison event among the dead letters")
        until(lambda: not any(one.get("lag") for one in platform.status("work")["subscriptions"]), what="nothing left")
        found, calls, status = letters(platform, "work"), handled(), platform.status("work")

    (letter,) = found
    assert (letter["event"]["id"], letter["reason"], letter["attempts"]) == (str(POISON), "max-attempts", 3)
    assert "still runs" in letter["error"]
    assert [attempt for n, attempt, _ in calls if n == POISON] == [1, 2, 3]
    assert len({pid for n, _, pid in calls if n == POISON}) == 3, "a replica outlived its stuck handler"
    assert {attempt for n, attempt, _ in calls if n != POISON} == {1}
    assert all(one["status"] == "True" for one in status["conditions"] if one["type"] in {"Ready", "Available"})
