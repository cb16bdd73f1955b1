"""KEDA's fallback: when it stands in, and for how many replicas."""

from __future__ import annotations

import pytest

from triggers.keda.fallback import Behavior, Fallback, InvalidFallback, failed, holds, replicas, value

TARGET = 10_000


def test_it_stands_in_from_the_failure_beyond_the_threshold() -> None:
    fallback, failures = Fallback(threshold=3, replicas=10), 0
    seen = []
    for _ in range(4):
        failures = failed(failures, error=True)
        seen.append(holds(fallback, failures))
    assert seen == [False, False, False, True]
    assert failed(failures, error=False) == 0
    assert not holds(None, 1000)


@pytest.mark.parametrize(
    ("behavior", "current", "wanted"),
    [
        ("static", 4, 10),
        ("currentReplicas", 6, 6),
        ("currentReplicasIfHigher", 4, 10),
        ("currentReplicasIfHigher", 14, 14),
        ("currentReplicasIfLower", 4, 4),
        ("currentReplicasIfLower", 14, 10),
    ],
)
def test_the_behaviors(behavior: Behavior, current: int, wanted: int) -> None:
    fallback = Fallback(threshold=3, replicas=10, behavior=behavior)
    assert replicas(fallback, current) == wanted
    assert value(fallback, kind="AverageValue", target=TARGET, current=current, ready=current) == TARGET * wanted


def test_a_value_is_divided_among_the_ready() -> None:
    fallback = Fallback(threshold=3, replicas=10)
    assert value(fallback, kind="Value", target=TARGET, current=4, ready=4) == 25_000
    with pytest.raises(InvalidFallback):
        value(fallback, kind="Value", target=TARGET, current=4, ready=0)


@pytest.mark.parametrize("fallback", [Fallback(threshold=-3, replicas=10), Fallback(threshold=3, replicas=-1)])
def test_negative_numbers_are_refused(fallback: Fallback) -> None:
    with pytest.raises(InvalidFallback):
        holds(fallback, 1)
