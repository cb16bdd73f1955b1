"""Replicas that are replaced while they work, on the real platform: what fits into the grace ends, once."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.events import letters, publish
from tests.platform import started, until

pytestmark = pytest.mark.platform

FUNCTION = """
import json, os, time
import functions_framework as ff

CALLS = os.open(os.environ["CALLS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

def note(event, context, what):
    line = [event.data, context.attempt, os.getpid(), what, os.environ["EVOKE_GRACE"]]
    os.write(CALLS, (json.dumps(line) + "\\n").encode())

@ff.cloud_event
def slow(event, context):
    note(event, context, "began")
    time.sleep({seconds} if context.attempt == 1 and event.data == 0 else 0)
    note(event, context, "ended")
"""

MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: slow}}
spec:
  serving:
    triggers: {{dapr: [{{name: default, type: pubsub, topic: jobs}}]}}
    params: {{CALLS: "{calls}", EDITION: "{edition}"}}
    delivery: {{retry: 3, timeout: 30s, backoff: {{initial: 50ms}}}}
    template: {{terminationGracePeriodSeconds: {grace}}}
"""


@pytest.mark.parametrize(("seconds", "grace", "attempts"), [(2, 10, [1]), (60, 1, [1, 2])], ids=["fits", "too long"])
def test_a_new_revision_lets_the_old_one_finish(tmp_path: Path, seconds: int, grace: int, attempts: list[int]) -> None:
    project, calls = tmp_path / "project", tmp_path / "calls"
    project.mkdir()
    calls.touch()
    (project / "main.py").write_text(FUNCTION.replace("{seconds}", str(seconds)))

    def write(edition: int) -> None:
        (project / "function.yaml").write_text(MANIFEST.format(calls=calls, edition=edition, grace=grace))

    def noted(what: str) -> list[tuple[int, int, int]]:
        lines = [json.loads(line) for line in calls.read_text().splitlines()]
        return [(n, attempt, pid) for n, attempt, pid, said, _ in lines if said == what]

    write(1)
    with started(project) as platform:
        platform.wait_ready("slow")
        publish(platform, "jobs", [0])
        until(lambda: noted("began"), what="the old revision at work")
        write(2)
        platform.evoke("apply", "-f", "function.yaml")
        publish(platform, "jobs", [1])
        until(lambda: {n for n, _, _ in noted("ended")} == {0, 1}, what="both events done")
        until(lambda: len(platform.replicas("slow")) == 1, what="the old replica gone")
        assert letters(platform, "slow") == []

    assert [attempt for n, attempt, _ in noted("began") if n == 0] == attempts
    assert [attempt for n, attempt, _ in noted("ended") if n == 0] == attempts[-1:]
    assert {attempt for n, attempt, _ in noted("began") if n == 1} == {1}
    assert {json.loads(line)[4] for line in calls.read_text().splitlines()} == {str(grace)}
