"""Counters to rates, and handler times from what gets done while work waits."""

from __future__ import annotations

import pytest

from api.frames import RouteReading, TriggerReading
from api.meta import Key, RevisionKey
from triggers.rates import Count, Meter, Rates, step
from triggers.scalers import inflight, lag

REVISION = RevisionKey("default", "f", "00001")


def run(*looks: tuple[float, int, int, float, bool]) -> Rates:
    """Steps of (time, arrived, done, in flight, waiting) of one counter."""
    meter, rates = Meter(), Rates()
    for now, arrived, done, in_flight, waiting in looks:
        counts = {"proxy-0/a/s": Count(arrived, done)}
        meter, rates = step(meter, counts, in_flight=in_flight, waiting=waiting, now=now)
    return rates


def test_the_first_look_knows_no_rate() -> None:
    assert Rates() == run((0.0, 5000, 5000, 0, False))


def test_arrivals_are_averaged_over_the_window() -> None:
    rates = run(*((t / 2, 10 * t, 10 * t, 0, False) for t in range(40)))

    assert pytest.approx(20, rel=0.01) == rates.event_rate
    assert rates.arrived == 10


def test_a_rate_is_forgotten_after_the_window() -> None:
    assert run((0.0, 0, 0, 0, False), (1.0, 100, 100, 0, False), (8.0, 100, 100, 0, False)).event_rate == 0


def test_a_restarted_agent_begins_a_new_counter() -> None:
    meter, _ = step(Meter(), {"p/boot1/s": Count(1000, 900)}, in_flight=0, waiting=False, now=0.0)
    _, rates = step(meter, {"p/boot2/s": Count(3, 0)}, in_flight=0, waiting=False, now=1.0)

    assert rates.arrived == 0


def test_full_replicas_tell_the_handler_time() -> None:
    """Four in flight, eight done per second: half a second each, whatever was reported."""
    rates = run(*((t / 4, 100, 2 * t, 4, True) for t in range(20)))

    assert pytest.approx(0.5, rel=0.01) == rates.handler_seconds


def test_a_handler_that_does_not_end_takes_at_least_as_long_as_it_ran() -> None:
    rates = run(*((t / 4, 100, 0, 4, True) for t in range(13)))

    assert pytest.approx(3.0) == rates.handler_seconds


def test_replicas_with_room_tell_nothing() -> None:
    assert run(*((t / 4, t, t, 1, False) for t in range(20))).handler_seconds == 0


def test_samples_stay_few() -> None:
    meter = Meter()
    for tick in range(10_000):
        meter, _ = step(meter, {}, in_flight=0, waiting=False, now=tick / 100)

    assert len(meter.samples) <= 6 / 0.25 + 3


def trigger(name: str, **fields: object) -> TriggerReading:
    return TriggerReading(subscription=Key("default", name), revision=REVISION, **fields)


def test_lag_sums_subscriptions_and_names_the_blind_one() -> None:
    readings = [
        trigger("a", lag=5, runnable=2, in_flight=1, handler_us=1000, done=10),
        trigger("b", lag=7, runnable=3, in_flight=2, handler_us=4000, done=30),
        trigger("c", blind="the bus does not answer", handler_us=9e9),
    ]
    found = lag.read(readings)

    assert (found.lag, found.runnable, found.in_flight) == (12, 5, 3)
    assert pytest.approx(0.00325) == found.handler_seconds
    assert found.blind == "c: the bus does not answer"


def test_an_old_owner_is_not_counted_twice() -> None:
    readings = [trigger("a", lag=9, epoch=1), trigger("a", lag=4, epoch=2), trigger("b", lag=1, epoch=1)]

    assert [reading.lag for reading in lag.newest(readings)] == [4, 1]


def test_requests_in_flight_sum_over_gateways() -> None:
    readings = [RouteReading(revision=REVISION, in_flight=2, waiting=3, done=1, handler_us=500) for _ in range(2)]
    found = inflight.read(readings)

    assert (found.in_flight, found.waiting, found.handler_seconds) == (4, 6, 0.0005)
