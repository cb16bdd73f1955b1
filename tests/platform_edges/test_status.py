"""What the status of a function still says after its replicas have gone and the proxy was replaced."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.platform import started, until

pytestmark = pytest.mark.platform

CODE = """
import functions_framework as ff

@ff.cloud_event
def fails(event):
    raise RuntimeError("on purpose")
"""
MANIFEST = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: fails}
spec:
  serving:
    triggers: {dapr: [{name: default, topic: work}]}
    delivery: {retry: 1}
    scaleOptions: {minReplicas: 0, maxReplicas: 1, keda: {scaledObject: {cooldownPeriod: 1}}}
"""


def test_cold_starts_and_dead_letters_outlive_replicas_and_proxy(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(CODE)
    (tmp_path / "function.yaml").write_text(MANIFEST)

    with started(tmp_path) as platform:
        platform.wait_ready("fails")
        assert platform.status("fails")["cold_start_ms"] is None
        for _ in range(2):
            platform.evoke("publish", "work", "-d", '{"n": 1}')
        until(lambda: platform.status("fails")["deadLetters"] == 2, what="two dead letters")
        until(lambda: not platform.status("fails")["replicas"], what="no replica left")
        status = platform.status("fails")
        assert status["cold_starts"] >= 1
        assert 0 < status["cold_start_ms"] < 10_000

        platform.kill("plane")
        until(lambda: platform.status("fails")["subscriptions"], what="the next proxy")
        until(lambda: platform.status("fails")["deadLetters"] == 2, what="both letters still counted")
        purge = ("dead-letters", "purge", "fails", "--all", "--yes")
        until(lambda: platform.evoke(*purge, check=False).returncode == 0, what="the next proxy takes requests")
        until(lambda: platform.status("fails")["deadLetters"] == 0, what="no letter left")
