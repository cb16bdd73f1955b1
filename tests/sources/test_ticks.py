"""When ticks are due: summer time, seconds, and what is still owed after a pause."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triggers.sources.source import BadSource
from triggers.sources.ticks import MOST, Missed, Schedule, owed, parse

NOW = datetime(2026, 3, 28, 22, 59, 59, 500_000, tzinfo=UTC)
GAP = datetime(2026, 3, 28, 12, tzinfo=UTC)  # Berlin goes from 02:00 to 03:00 that night
FOLD = datetime(2026, 10, 24, 12, tzinfo=UTC)  # and here from 03:00 back to 02:00
BERLIN = "Europe/Berlin"


@pytest.mark.parametrize(
    ("schedule", "zone", "due"),
    [
        ("@every 2s", "UTC", "2026-03-28T23:00:00+00:00"),
        ("@every 1m30s", "UTC", "2026-03-28T23:00:00+00:00"),
        ("@every 500ms", "UTC", "2026-03-28T23:00:00+00:00"),
        ("@hourly", "UTC", "2026-03-28T23:00:00+00:00"),
        ("*/5 * * * *", "UTC", "2026-03-28T23:00:00+00:00"),
        ("30 * * * * *", "UTC", "2026-03-28T23:00:30+00:00"),
        ("*/20 59 * * * *", "UTC", "2026-03-28T23:59:00+00:00"),
        ("0 9 * * *", BERLIN, "2026-03-29T07:00:00+00:00"),
        ("30 2 * * *", BERLIN, "2026-03-29T01:00:00+00:00"),
        ("0 0 29 2 *", "UTC", "2028-02-29T00:00:00+00:00"),
    ],
)
def test_next_tick(schedule: str, zone: str, due: str) -> None:
    assert parse(schedule, zone).after(NOW).isoformat() == due


def steps(schedule: str, start: datetime, count: int, zone: str = BERLIN) -> list[str]:
    """Ticks as they are found when each is asked for anew."""
    found, at = [], start
    for _ in range(count):
        at = parse(schedule, zone).after(at)
        found.append(f"{at:%d %H:%M}")
    return found


@pytest.mark.parametrize("schedule", ["30 2 * * *", "0 30 2 * * *"])
def test_a_fixed_time_fires_once_whatever_the_clock_does(schedule: str) -> None:
    assert steps(schedule, GAP, 3) == ["29 01:00", "30 00:30", "31 00:30"]
    assert steps(schedule, FOLD, 3) == ["25 00:30", "26 01:30", "27 01:30"]


def test_wildcard_hours_are_hours_of_real_time() -> None:
    assert steps("0 * * * *", GAP.replace(hour=23), 4) == ["29 00:00", "29 01:00", "29 02:00", "29 03:00"]
    assert steps("0 * * * *", FOLD.replace(hour=23), 4) == ["25 00:00", "25 01:00", "25 02:00", "25 03:00"]
    assert steps("*/30 * * * *", FOLD.replace(hour=23, minute=45), 4) == [
        "25 00:00",
        "25 00:30",
        "25 01:00",
        "25 01:30",
    ]


@pytest.mark.parametrize("minutes", range(0, 180, 10))
@pytest.mark.parametrize("schedule", ["30 2 * * *", "0 30 2 * * *", "*/15 * * * *", "*/20 * * * * *", "@every 10m"])
def test_the_next_tick_is_always_ahead(schedule: str, minutes: int) -> None:
    """Within the repeated hour too, where one local time stands for two moments."""
    for day in (GAP.replace(day=29), FOLD.replace(day=25)):
        at = day.replace(hour=0) + timedelta(minutes=minutes)
        assert parse(schedule, BERLIN).after(at) > at


@pytest.mark.parametrize(
    "schedule", ["", "* * * *", "61 * * * *", "@every", "@every 5", "@every 0s", "@every 1y", "@fast", "0 0 30 2 *"]
)
def test_bad_schedule_is_refused(schedule: str) -> None:
    with pytest.raises(BadSource):
        parse(schedule)


def test_unknown_zone_is_refused() -> None:
    with pytest.raises(BadSource, match="Mars"):
        parse("* * * * *", "Mars")


@pytest.mark.parametrize(
    ("missed", "pause", "expected"),
    [
        ("skip", timedelta(minutes=5, seconds=40), ["12:05"]),
        ("once", timedelta(minutes=5, seconds=40), ["12:05"]),
        ("all", timedelta(minutes=5, seconds=40), ["12:01", "12:02", "12:03", "12:04", "12:05"]),
        ("all", timedelta(seconds=20), []),
    ],
)
def test_what_is_owed(missed: Missed, pause: timedelta, expected: list[str]) -> None:
    seen = datetime(2026, 1, 1, 12, tzinfo=UTC)
    due, passed_over = owed(parse("* * * * *"), seen=seen, now=seen + pause, missed=missed)
    assert [f"{tick:%H:%M}" for tick in due] == expected
    assert passed_over == (0 if missed == "all" else 5 - len(expected))


def test_a_tick_that_is_too_late_is_skipped() -> None:
    seen = datetime(2026, 1, 1, 12, tzinfo=UTC)
    late = seen + timedelta(hours=1, minutes=59)
    assert owed(parse("@hourly"), seen=seen, now=late, missed="skip") == ((), 1)
    assert owed(parse("@hourly"), seen=seen, now=late, missed="once") == ([seen + timedelta(hours=1)], 0)


@pytest.mark.parametrize("schedule", ["@every 100ms", "* * * * * *", "* * * * *", "0 0 29 2 *", "* * * 29 2 *"])
def test_a_clock_that_jumps_by_years_costs_little(schedule: str) -> None:
    """The bound is against a walk through every tick; what it costs is not measured here."""
    seen, now = datetime(2026, 1, 1, tzinfo=UTC), datetime(2029, 1, 1, tzinfo=UTC)
    started = time.process_time()
    due, _ = owed(parse(schedule), seen=seen, now=now, missed="all")
    assert len(due) <= MOST
    assert time.process_time() - started < 20


EXPRESSIONS = st.sampled_from(
    ["* * * * *", "*/7 * * * *", "30 2 * * *", "15,45 */6 * * *", "*/25 * * * * *", "0 0 * * 1"]
)


@given(EXPRESSIONS, st.integers(0, 400 * 86_400), st.integers(0, 4 * 86_400))
def test_the_newest_ticks_are_those_of_a_plain_walk(expression: str, start: int, length: int) -> None:
    schedule: Schedule = parse(expression, BERLIN)
    first = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=start)
    last = first + timedelta(seconds=length if " * * * * *" not in expression else length % 3600)
    walked = []
    for tick in schedule.ticks(first):
        if tick > last:
            break
        walked.append(tick)
    assert schedule.between(first, last) == walked[-MOST:]
    assert walked == sorted(set(walked))
