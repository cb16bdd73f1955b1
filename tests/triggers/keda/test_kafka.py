"""KEDA's Kafka scaler: lag of a partition, caps, even distribution, limits and names; upstream's tables."""

from __future__ import annotations

import pytest

from triggers.keda.kafka import (
    Offsets,
    Partition,
    Settings,
    divisors,
    even,
    limited_to,
    metric_name,
    partition_lag,
    total,
)

EARLIEST = Settings(reset="earliest")


@pytest.mark.parametrize(
    ("settings", "committed", "end", "lag"),
    [
        (Settings(reset="earliest", zero_on_invalid=True), -1, None, 0),
        (EARLIEST, -1, None, 0),
        (EARLIEST, 100, None, 0),
        (EARLIEST, 100, 150, 50),
        (Settings(zero_on_invalid=True), -1, 150, 0),
        (Settings(), -1, 150, 1),
        (EARLIEST, -1, 150, 150),
    ],
)
def test_lag_of_a_partition(settings: Settings, committed: int, end: int | None, lag: int) -> None:
    assert partition_lag(settings, Offsets(committed=committed, end=end)) == lag


@pytest.mark.parametrize(
    ("number", "found"),
    [(10, [1, 2, 5, 10]), (13, [1, 13]), (25, [1, 5, 25]), (100, [1, 2, 4, 5, 10, 20, 25, 50, 100])],
)
def test_divisors(number: int, found: list[int]) -> None:
    assert list(divisors(number)) == found


@pytest.mark.parametrize(
    ("partitions", "lag", "replicas"),
    [
        (100, 10, 1),
        (100, 20, 2),
        (100, 40, 4),
        (100, 50, 5),
        (100, 99, 10),
        (100, 100, 10),
        (100, 101, 20),
        (10, 10, 1),
        (10, 11, 2),
        (10, 20, 2),
        (10, 21, 5),
        (10, 50, 5),
        (10, 51, 10),
        (10, 5000, 10),
    ],
)
def test_even_distribution(partitions: int, lag: int, replicas: int) -> None:
    assert even(partitions, 10, lag) == replicas


def spread(*lags: int) -> dict[Partition, Offsets]:
    return {("t", number): Offsets(committed=0, end=lag) for number, lag in enumerate(lags)}


@pytest.mark.parametrize(
    ("settings", "lags", "value"),
    [
        (Settings(threshold=5), (30, 0, 0, 0, 0), 25),
        (Settings(threshold=5), (24, 0, 0, 0, 0), 24),
        (Settings(threshold=5), (29, 0, 0, 0, 0), 25),
        (Settings(threshold=5, idle_consumers=True), (30, 0, 0, 0, 0), 30),
        (Settings(only_lagging=True), (60, 0, 0), 10),
        (Settings(threshold=1, only_lagging=True), (6, 0, 0), 1),
        (Settings(threshold=1, only_lagging=True), (6, 2, 0), 2),
        (Settings(threshold=1, even=True), (5, *[0] * 9), 5),
        (Settings(threshold=1, even=True), (8, *[0] * 9), 10),
        (Settings(even=True), (0, 0), 0),
    ],
)
def test_caps(settings: Settings, lags: tuple[int, ...], value: int) -> None:
    """The third row is where KEDA says 29, and so asks for a replica more than there are partitions."""
    assert total(settings, spread(*lags), {}).value == value


@pytest.mark.parametrize(("lag", "active"), [(1, False), (2, True)])
def test_activation_is_beyond_its_threshold(lag: int, active: bool) -> None:
    assert total(Settings(threshold=1, activation=1), spread(lag, 0, 0), {}).active is active


def test_what_is_stuck_wakes_and_asks_for_nothing() -> None:
    settings = Settings(exclude_persistent=True)
    first = total(settings, spread(7, 0), {})
    again = total(settings, spread(7, 0), first.offsets)
    assert (first.value, first.active) == (7, True)
    assert (again.value, again.active) == (0, True)


def test_a_partition_ahead_of_its_end_takes_away_and_the_sum_stays_above_zero() -> None:
    ahead = {("t", 0): Offsets(committed=10, end=4), ("t", 1): Offsets(committed=0, end=2)}
    assert total(Settings(), ahead, {}).value == 0


@pytest.mark.parametrize(
    ("text", "found"), [("1-4,8,10-12", {1, 2, 3, 4, 8, 10, 11, 12}), ("3-3", {3}), (" 1 , 2 ", {1, 2})]
)
def test_partitions_that_are_named(text: str, found: set[int]) -> None:
    assert limited_to(text) == found


def test_every_partition_without_a_limit() -> None:
    assert limited_to(" ") is None


@pytest.mark.parametrize("text", ["1-2-3", "a-3", "a,b", "1,", "-3"])
def test_limits_that_do_not_hold(text: str) -> None:
    with pytest.raises(ValueError, match="partitionLimitation"):
        limited_to(text)


def test_names() -> None:
    assert metric_name(0, topic="my-topic", group="my-group") == "s0-kafka-my-topic"
    assert metric_name(1, topic="", group="my-group") == "s1-kafka-my-group-topics"
