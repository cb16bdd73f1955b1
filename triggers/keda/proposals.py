"""What one metric asks of the HorizontalPodAutoscaler, and what several ask together; pure.

Source: kube-controller-manager's horizontal pod autoscaler, the part that computes replicas for external metrics.
Quantities are integers in thousandths, as there.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import msgspec

MetricType = Literal["AverageValue", "Value"]


class Tolerance(msgspec.Struct, frozen=True, kw_only=True):
    """Relative deviation from the target that is ignored, per direction."""

    up: float = 0.1
    down: float = 0.1

    def covers(self, ratio: float) -> bool:
        return 1.0 - self.down <= ratio <= 1.0 + self.up


class Metric(msgspec.Struct, frozen=True, kw_only=True):
    """One metric as it was read for a sync."""

    name: str = ""
    kind: MetricType = "AverageValue"
    target: int
    """Thousandths: per replica, or (``Value``) of the whole."""
    value: int | None
    """Thousandths of the whole; None: it could not be read."""
    error: str = ""
    stands_in: bool = False
    """A fallback made the value."""


class Counts(msgspec.Struct, frozen=True, kw_only=True):
    """Replicas at a sync."""

    spec: int
    """Asked for by the scale subresource."""
    status: int
    """That exist."""
    ready: int


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics of a sync ask for together."""

    replicas: int | None
    """None: hold what is there."""
    metric: str = ""
    """The one that asks for the most."""
    errors: tuple[str, ...] = ()


def proposal(metric: Metric, counts: Counts, tolerance: Tolerance) -> int:
    """Replicas that a metric with a value asks for."""
    assert metric.value is not None
    if metric.kind == "AverageValue":
        if counts.status and tolerance.covers(metric.value / (metric.target * counts.status)):
            return counts.status
        return _ceil(metric.value, metric.target)
    if counts.spec:
        if tolerance.covers(metric.value / metric.target):
            return counts.spec
        return _ceil(metric.value * counts.ready, metric.target)
    return _ceil(metric.value, metric.target)


def average(value: int, replicas: int) -> int:
    """What the status of the autoscaler tells of an AverageValue metric, in thousandths."""
    return _ceil(value, replicas) if replicas else 0


def asked(metrics: Iterable[Metric], counts: Counts, tolerance: Tolerance) -> Asked:
    """The most that any metric asks for; while one cannot be read nothing is taken away."""
    best: tuple[int, str] | None = None
    errors = []
    for metric in metrics:
        if metric.value is None:
            errors.append(f"{metric.name}: {metric.error or 'no value'}")
            continue
        count = proposal(metric, counts, tolerance)
        if best is None or count > best[0]:
            best = (count, metric.name)
    if best is None or (errors and best[0] < counts.spec):
        return Asked(replicas=None, errors=tuple(errors))
    return Asked(replicas=best[0], metric=best[1], errors=tuple(errors))


def _ceil(dividend: int, divisor: int) -> int:
    """As Kubernetes does: on the floating point quotient."""
    return math.ceil(dividend / divisor)
