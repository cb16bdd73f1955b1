"""Moments at which owners look again: spread over a tick, shared by a few."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from eventbus.ticks import GRAIN, pause


@given(st.floats(0, 1e6), st.floats(0, 1))
def test_it_is_never_shorter_and_hardly_longer(now: float, share: float) -> None:
    found = pause(now, 1.0, share)
    assert 1.0 + share - 1e-6 <= found <= 1.0 + share + GRAIN + 1e-6


def test_those_that_began_together_drift_apart() -> None:
    draw = random.Random(1)
    times = [0.0] * 200
    for _ in range(20):
        times = [now + pause(now, 1.0, 0.2 * draw.random()) for now in times]
    shared = Counter(round(now / GRAIN) for now in times)
    assert max(shared.values()) < 40
    assert len(shared) < 60, "and yet they share their moments"
