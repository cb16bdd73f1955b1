"""What counts as a duplicate, and for how long."""

from __future__ import annotations

import pytest

from eventbus.kafka import recent as kafka_recent
from eventbus.kafka.recent import Recent


def test_an_id_is_a_duplicate_anywhere_but_where_it_came_first() -> None:
    recent = Recent()

    assert not recent.seen("a", (0, 1), 0.0)
    assert not recent.seen("a", (0, 1), 1.0)
    assert recent.seen("a", (0, 2), 1.0)
    assert recent.seen("a", (1, 1), 119.0)
    assert not recent.seen("b", (0, 3), 1.0)


def test_after_two_minutes_it_is_no_duplicate() -> None:
    recent = Recent()
    recent.seen("a", (0, 1), 0.0)

    assert not recent.seen("a", (0, 2), 120.0)
    assert recent.seen("a", (0, 3), 121.0)


def test_of_too_many_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_recent, "MOST", 2)
    recent = Recent()
    for number, name in enumerate("abc"):
        recent.seen(name, (0, number), 0.0)

    assert not recent.seen("a", (0, 9), 1.0)
    assert recent.seen("c", (0, 9), 1.0)
