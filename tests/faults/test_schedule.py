"""A schedule is the same from the same seed, and says all that it did."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tests.faults.schedule import draw, load

KINDS = ("broker killed", "network delayed", "proxy frozen", "proxy killed", "replica killed")


@given(st.integers(0, 2**32), st.integers(1, 60))
def test_the_seed_decides(seed: int, periods: int) -> None:
    schedule = draw(seed, KINDS, periods)

    assert schedule == draw(seed, tuple(reversed(KINDS)), periods)
    assert len(schedule.periods) == periods
    assert all(0 < strike.at < 1 and strike.seconds <= 3 for period in schedule.periods for strike in period)
    assert all(
        [strike.at for strike in period] == sorted(strike.at for strike in period) for period in schedule.periods
    )


@given(st.integers(0, 2**32), st.integers(2, 60))
def test_every_kind_strikes(seed: int, periods: int) -> None:
    assert set(draw(seed, KINDS, periods).kinds()) == set(KINDS)


def test_about_a_quarter_of_the_periods_is_calm() -> None:
    periods = draw(7, KINDS, 2000).periods

    assert 0.2 < sum(not period for period in periods) / len(periods) < 0.3


def test_a_stored_schedule_is_the_schedule(tmp_path: Path) -> None:
    schedule = draw(3, KINDS, 12)
    schedule.save(tmp_path / "schedule.json")

    assert load(tmp_path / "schedule.json") == schedule
