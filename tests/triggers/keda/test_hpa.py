"""The autoscaler's own unit tables (kube-controller-manager), by the numbers of the field's vectors."""

from __future__ import annotations

from typing import Any

import pytest

from triggers.keda.pace import (
    DOWN,
    UP,
    Behavior,
    Direction,
    Pace,
    Policy,
    Stamp,
    _limited_plain,
    limited,
    stabilised,
    step,
)
from triggers.keda.proposals import Asked, Counts, Metric, MetricType, Tolerance, asked, average, proposal

NOW = 100_000.0
MINUTE = 60.0


@pytest.mark.parametrize(
    ("kind", "current", "ready", "value", "target", "replicas"),
    [
        ("Value", 1, 1, 8600, 4400, 2),
        ("Value", 3, 1, 8600, 4400, 2),
        ("Value", 5, 5, 8600, 14334, 3),
        ("Value", 3, 3, 8600, 8888, 3),
        ("AverageValue", 3, 3, 8600, 2150, 4),
        ("AverageValue", 5, 5, 8600, 2867, 3),
        ("AverageValue", 3, 3, 8600, 2900, 3),
        ("AverageValue", 3, 3, 20000, 5000, 4),
        ("AverageValue", 5, 5, 6000, 2000, 3),
        ("AverageValue", 4, 4, 20166, 5000, 4),
        ("Value", 3, 3, 20000, 15000, 4),
        ("Value", 3, 1, 50000, 10000, 5),
        ("Value", 5, 5, 12000, 20000, 3),
        ("Value", 3, 3, 20666, 20000, 3),
        ("Value", 0, 0, 2500, 1000, 3),
    ],
)
def test_one_metric(kind: MetricType, current: int, ready: int, value: int, target: int, replicas: int) -> None:
    metric = Metric(kind=kind, target=target, value=value)
    counts = Counts(spec=current, status=current, ready=ready)
    assert proposal(metric, counts, Tolerance()) == replicas


def test_what_the_status_tells() -> None:
    assert (average(8600, 3), average(8600, 5), average(0, 0)) == (2867, 1720, 0)


@pytest.mark.parametrize(("ratio", "replicas"), [(1100, 10), (1101, 12), (900, 10), (899, 9)])
def test_the_edges_of_the_tolerance_hold(ratio: int, replicas: int) -> None:
    metric = Metric(target=1000, value=ratio * 10)
    assert proposal(metric, Counts(spec=10, status=10, ready=10), Tolerance()) == replicas


def test_no_tolerance_follows_everything() -> None:
    metric = Metric(target=1000, value=10_001)
    assert proposal(metric, Counts(spec=10, status=10, ready=10), Tolerance(up=0.0, down=0.0)) == 11


def both(current: int, value: int) -> Asked:
    """One metric that cannot be read, and one that asks for *value*."""
    broken = Metric(name="a", target=1000, value=None, error="refused")
    sound = Metric(name="b", target=1000, value=value * 1000)
    return asked([broken, sound], Counts(spec=current, status=current, ready=current), Tolerance())


def test_a_metric_that_fails_takes_nothing_away() -> None:
    assert both(5, 3) == Asked(replicas=None, errors=("a: refused",))
    assert both(3, 4) == Asked(replicas=4, metric="b", errors=("a: refused",))
    none = asked([], Counts(spec=3, status=3, ready=3), Tolerance())
    assert none.replicas is None


def test_the_most_counts() -> None:
    metrics = [Metric(name=str(count), target=1000, value=count * 1000) for count in (3, 7, 5)]
    assert asked(metrics, Counts(spec=1, status=1, ready=1), Tolerance()) == Asked(replicas=7, metric="7")


@pytest.mark.parametrize(
    ("current", "desired", "least", "most", "replicas", "limiter"),
    [
        (5, 7, 3, 8, 7, "none"),
        (3, 1, 2, 8, 2, "min"),
        (1, 0, 0, 10, 0, "none"),
        (20, 1000, 1, 10, 10, "max"),
        (3, 1000, 1, 2000, 6, "rate"),
    ],
)
def test_bounds_without_a_behavior(
    current: int, desired: int, least: int, most: int, replicas: int, limiter: str
) -> None:
    assert _limited_plain(current, desired, least, most) == (replicas, limiter)


def minutes(*counts: tuple[int, float]) -> Pace:
    """Recommendations, each so many minutes ago."""
    return Pace(recommendations=tuple(Stamp(count, NOW - ago * MINUTE) for count, ago in counts))


@pytest.mark.parametrize(
    ("pace", "desired", "replicas"),
    [
        (minutes(), 5, 5),
        (minutes((4, 2), (5, 1)), 3, 5),
        (minutes((1, 2), (2, 1)), 3, 3),
        (minutes((10, 10), (9, 9)), 3, 3),
        (minutes((10, 10), (4, 1), (5, 2), (9, 9)), 3, 5),
        (minutes((7, 5)), 3, 7),
    ],
)
def test_stabilisation_without_a_behavior(pace: Pace, desired: int, replicas: int) -> None:
    """The last row: a recommendation on the edge of the window counts."""
    assert step(pace, 10, desired, least=1, most=100, behavior=None, now=NOW).replicas == replicas


@pytest.mark.parametrize(
    ("current", "desired", "up", "down", "pace", "replicas"),
    [
        (100, 5, 0, 0, minutes(), 5),
        (100, 3, 0, 180, minutes((4, 2), (5, 1)), 5),
        (1, 7, 300, 0, minutes((4, 2), (5, 1)), 4),
        (100, 3, 300, 0, minutes((1, 2), (2, 1)), 3),
        (1, 3, 0, 300, minutes((4, 2), (5, 1)), 3),
        (1, 100, 0, 0, minutes((10, 10), (9, 9)), 100),
        (1, 100, 300, 0, minutes((10, 100), (6, 1), (5, 2), (9, 3)), 5),
        (2, 1, 300, 300, minutes((2, 100), (3, 3)), 2),
        (2, 3, 300, 300, minutes((2, 100), (1, 3)), 2),
    ],
)
def test_stabilisation_of_a_behavior(
    current: int, desired: int, up: float, down: float, pace: Pace, replicas: int
) -> None:
    behavior = Behavior(
        up=Direction(window=up, policies=UP.policies), down=Direction(window=down, policies=DOWN.policies)
    )
    assert stabilised(pace, current, desired, behavior, NOW)[0] == replicas


def pods(value: int, period: float = MINUTE) -> Policy:
    return Policy(kind="Pods", value=value, period=period)


def percent(value: int, period: float = MINUTE) -> Policy:
    return Policy(kind="Percent", value=value, period=period)


def up(*policies: Policy, **rest: Any) -> Behavior:
    return Behavior(up=Direction(window=0.0, policies=policies, **rest))


def down(*policies: Policy, **rest: Any) -> Behavior:
    return Behavior(down=Direction(window=0.0, policies=policies, **rest))


def history(ups: tuple[int, ...] = (), downs: tuple[int, ...] = ()) -> Pace:
    """Changes of a moment ago."""
    return Pace(
        ups=tuple(Stamp(count, NOW - 1) for count in ups), downs=tuple(Stamp(count, NOW - 1) for count in downs)
    )


@pytest.mark.parametrize(
    ("behavior", "current", "desired", "least", "most", "replicas"),
    [
        (Behavior(), 10, 50, 1, 1000, 20),
        (up(pods(100), percent(100)), 10, 500, 1, 1000, 110),
        (up(pods(2), percent(100)), 10, 500, 1, 1000, 20),
        (up(pods(100)), 10, 50, 1, 1000, 50),
        (up(pods(30)), 10, 50, 1, 1000, 40),
        (up(percent(200)), 10, 50, 1, 1000, 30),
        (up(percent(1)), 3, 1000, 1, 2000, 4),
        (Behavior(), 100, 1000, 1, 150, 150),
        (down(pods(20), percent(1)), 100, 2, 1, 1000, 80),
        (down(pods(2), percent(1)), 100, 2, 1, 1000, 98),
        (down(pods(100)), 10, 0, 1, 1000, 1),
        (down(percent(100)), 10, 2, 5, 1000, 5),
        (down(pods(5)), 10, 2, 1, 1000, 5),
        (down(percent(50)), 10, 5, 1, 1000, 5),
        (down(percent(1000)), 10, 5, 1, 1000, 5),
        (up(pods(100), percent(1), select="Min"), 10, 50, 1, 1000, 11),
        (up(pods(100), select="Disabled"), 10, 50, 1, 1000, 10),
        (down(pods(100), select="Disabled"), 10, 5, 1, 1000, 10),
    ],
)
def test_rates(behavior: Behavior, current: int, desired: int, least: int, most: int, replicas: int) -> None:
    assert limited(Pace(), current, desired, least, most, behavior, NOW)[0] == replicas


@pytest.mark.parametrize(
    ("pace", "behavior", "current", "desired", "most", "replicas"),
    [
        (history((1, 5, 9)), up(pods(300)), 100, 500, 200, 200),
        (history((1, 5, 9)), up(pods(5, 120)), 100, 500, 1000, 100),
        (history((1, 5, 9)), up(pods(150, 120)), 100, 500, 1000, 235),
        (history((1, 5, 9)), up(percent(200, 120)), 100, 500, 1000, 255),
        (history((4,), (2,)), up(percent(300, 300)), 6, 24, 1000, 16),
        (history((), (1, 5, 9)), down(pods(5, 120)), 100, 2, 1000, 100),
        (history((), (1, 5, 9)), down(pods(115, 120)), 100, 0, 1000, 1),
        (history((), (2, 4, 6)), down(percent(50, 120)), 100, 0, 1000, 56),
        (history((2,), (4,)), down(percent(50, 180)), 10, 1, 1000, 6),
        (history((), (10, 10, 10)), down(percent(10, 120)), 100, 2, 1000, 100),
    ],
)
def test_rates_count_what_was_changed_before(
    pace: Pace, behavior: Behavior, current: int, desired: int, most: int, replicas: int
) -> None:
    assert limited(pace, current, desired, 1, most, behavior, NOW)[0] == replicas


@pytest.mark.parametrize(("behavior", "counts"), [(None, [4, 8, 16]), (Behavior(), [5, 10, 20])])
def test_growth_from_one_tells_the_two_paths_apart(behavior: Behavior | None, counts: list[int]) -> None:
    pace, current, seen = Pace(), 1, []
    for tick in range(3):
        answer = step(pace, current, 1000, least=1, most=1000, behavior=behavior, now=NOW + 15 * tick)
        pace, current = answer.pace, answer.replicas
        seen.append(current)
    assert seen == counts
