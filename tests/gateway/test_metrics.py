"""What /metrics says beside the gateway's own requests."""

from __future__ import annotations

from api.frames import RouteReading
from api.meta import RevisionKey
from gateway.metrics import Metrics
from gateway.traffic import Traffic
from replicas.table import ReplicaTable


def test_service_invocation() -> None:
    revision = RevisionKey("default", "store", "00002")
    seen = RouteReading(revision=revision, in_flight=1, waiting=2, arrived=9, done=6, failed=3)

    page = Metrics(Traffic(), ReplicaTable(), tuple, lambda: (seen,)).page().decode()

    labels = '{function="store",namespace="default",revision="00002"}'
    for line in ("done_total{} 6.0", "failed_total{} 3.0", "in_flight{} 1.0", "waiting{} 2.0"):
        assert f"evoke_invocations_{line.replace('{}', labels)}" in page
