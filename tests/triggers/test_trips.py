"""Conditions of circuit breakers."""

from __future__ import annotations

import pytest

from api.errors import InvalidInput
from triggers.trips import COUNTS, compile_trip


@pytest.mark.parametrize(
    ("text", "counts", "open_"),
    [
        ("consecutiveFailures > 5", {"consecutiveFailures": 5}, False),
        ("consecutiveFailures > 5", {"consecutiveFailures": 6}, True),
        ("totalFailures >= 3 && requests > 10", {"totalFailures": 3, "requests": 11}, True),
        ("double(totalFailures) / double(requests) > 0.5", {"totalFailures": 6, "requests": 10}, True),
        ("requests % 2", {"requests": 2}, False),
        ("true", {}, True),
    ],
)
def test_a_breaker_trips(text: str, counts: dict[str, int], open_: bool) -> None:
    assert compile_trip(text)(dict.fromkeys(COUNTS, 0) | counts) is open_


@pytest.mark.parametrize("text", ["failures > 5", "event.requests > 1", "requests >", "", "requests > 'a' + x"])
def test_what_cannot_be_compiled(text: str) -> None:
    with pytest.raises(InvalidInput):
        compile_trip(text)
