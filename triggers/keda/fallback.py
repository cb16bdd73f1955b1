"""What stands in for a metric that cannot be read, once that was so too often; pure.

Source: KEDA's fallback of ScaledObjects. Quantities are integers in thousandths.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from triggers.keda.proposals import MetricType

Behavior: TypeAlias = Literal[
    "static", "currentReplicas", "currentReplicasIfHigher", "currentReplicasIfLower", "scalingModifiers"
]


class Fallback(msgspec.Struct, frozen=True, kw_only=True):
    threshold: int
    """Failed reads in a row that are still told as errors."""
    replicas: int
    behavior: Behavior = "static"


class InvalidFallback(ValueError):
    """A negative threshold or replica count, or no ready replica to divide by."""


def failed(failures: int, *, error: bool) -> int:
    """Failed reads in a row of a metric, after one more read."""
    return failures + 1 if error else 0


def holds(fallback: Fallback | None, failures: int) -> bool:
    """Whether it stands in after so many failed reads; raises InvalidFallback."""
    if fallback is None:
        return False
    if fallback.threshold < 0 or fallback.replicas < 0:
        raise InvalidFallback("fallback: failureThreshold and replicas must not be negative")
    return failures > fallback.threshold


def replicas(fallback: Fallback, current: int) -> int:
    """What it asks for."""
    match fallback.behavior:
        case "currentReplicas":
            return current
        case "currentReplicasIfHigher":
            return max(current, fallback.replicas)
        case "currentReplicasIfLower":
            return min(current, fallback.replicas)
        case "static" | "scalingModifiers":
            return fallback.replicas


def value(fallback: Fallback, *, kind: MetricType, target: int, current: int, ready: int) -> int:
    """The metric, in thousandths, that makes the autoscaler ask for that; raises InvalidFallback."""
    wanted = replicas(fallback, current)
    if kind == "AverageValue":
        return target * wanted
    if not ready:
        raise InvalidFallback("fallback: a metric of type Value needs a ready replica")
    return target * wanted // ready
