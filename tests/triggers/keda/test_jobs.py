"""ScaledJob: strategies, the minimum, and several triggers; upstream's own tables."""

from __future__ import annotations

import pytest

from triggers.keda.jobs import Jobs, Join, Queue, Reading, Strategy, bounds, create, join, wanted

PLENTY = 1000
DEFAULT, ACCURATE, EAGER = Strategy(), Strategy(kind="accurate"), Strategy(kind="eager")


def custom(deduction: int, share: float | None) -> Strategy:
    return Strategy(kind="custom", deduction=deduction, share=share)


@pytest.mark.parametrize(
    ("strategy", "worth", "running", "pending", "most", "count"),
    [
        (DEFAULT, 3, 2, 0, 5, 1),
        (DEFAULT, 2, 0, 0, 5, 2),
        (custom(1, 0.5), 3, 2, 0, 5, 1),
        (custom(1, 0.5), 10, 0, 0, 10, 9),
        (custom(2, 0.0), 3, 2, 0, 5, 1),
        (custom(-2, 0.0), 3, 2, 0, 4, 4),
        (custom(0, 0.5), 10, 2, 0, 10, 9),
        (custom(0, 0.5), 10, 0, 0, 10, 10),
        (custom(0, None), 3, 2, 0, 5, 1),
        (ACCURATE, 3, 2, 0, 5, 3),
        (ACCURATE, 5, 2, 0, 5, 3),
        (ACCURATE, 3, 4, 2, 10, 1),
        (ACCURATE, 5, 4, 2, 5, 1),
        (ACCURATE, 3, 3, 3, 5, 0),
        (ACCURATE, 15, 15, 15, 20, 0),
        (ACCURATE, 10, 10, 10, 15, 0),
        (ACCURATE, 20, 15, 10, 20, 5),
    ],
)
def test_strategies(strategy: Strategy, worth: int, running: int, pending: int, most: int, count: int) -> None:
    assert wanted(strategy, Queue(length=PLENTY, most=worth), running, pending, most)[0] == count


@pytest.mark.parametrize(
    ("worth", "running", "pending", "count"), [(4, 3, 0, 4), (4, 0, 3, 4), (4, 7, 0, 3), (4, 1, 6, 3), (15, 0, 0, 10)]
)
def test_eager_fills_what_is_free(worth: int, running: int, pending: int, count: int) -> None:
    assert wanted(EAGER, Queue(length=2, most=worth), running, pending, 10) == (count, 10)


@pytest.mark.parametrize(
    ("least", "running", "queue", "created"),
    [
        (2, 0, Queue(), 2),
        (2, 1, Queue(), 1),
        (1, 1, Queue(length=2, most=2, active=True), 2),
        (0, 0, Queue(length=5, most=5), 0),
        (0, 5, Queue(length=3, most=3, active=True), 0),
    ],
)
def test_the_minimum_comes_first(least: int, running: int, queue: Queue, created: int) -> None:
    assert create(DEFAULT, queue, Jobs(running=running), least=least, most=100) == created


@pytest.mark.parametrize(
    ("length", "most", "target", "running", "created"),
    [(10, 3, 1, 0, 3), (10, 3, 2, 0, 3), (10, 3, 1, 1, 2), (10, 100, 1, 0, 10), (4, 3, 5, 0, 1)],
)
def test_the_table_of_the_documentation(length: int, most: int, target: int, running: int, created: int) -> None:
    queue = join([Reading(queue=length, targets=(target,), active=True)], "max", least=0, most=most)
    assert create(DEFAULT, queue, Jobs(running=running), least=0, most=most) == created


ROWS = (
    Reading(queue=20, targets=(1,), active=True),
    Reading(queue=10, targets=(2,), active=True),
    Reading(queue=5, targets=(3,), active=True),
    Reading(queue=7, targets=(4,), active=False),
)


@pytest.mark.parametrize(
    ("how", "most", "length", "worth"),
    [("max", 100, 20, 20), ("min", 100, 5, 2), ("avg", 100, 12, 9), ("sum", 100, 35, 27), ("sum", 25, 35, 25)],
)
def test_several_triggers(how: Join, most: int, length: int, worth: int) -> None:
    assert join(ROWS, how, least=0, most=most) == Queue(length=length, most=worth, active=True)


def test_one_trigger_and_none() -> None:
    assert join([Reading(queue=20, targets=(2,), active=True)], "max", least=0, most=100).most == 10
    assert join([], "max", least=1, most=100) == Queue(active=True)
    assert join([], "max", least=0, most=100) == Queue()
    mean = join([Reading(queue=26, targets=(5, 5, 3), active=True)], "max", least=0, most=100)
    assert mean.most == 6


def test_a_minimum_above_the_maximum() -> None:
    assert bounds(7, 5) == (5, 0)
    assert bounds(2, 10) == (2, 8)
