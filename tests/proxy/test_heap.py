"""The garbage collector of a process that delivers: long pauses once, and nothing kept for ever."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from proxy.heap import LONG, THAW, Pauses

FULL = {"generation": 2, "collected": 0, "uncollectable": 0}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Iterator[Clock]:
    before = gc.get_freeze_count()
    yield Clock()
    if not before:
        gc.unfreeze()


def collection(pauses: Pauses, clock: Clock, seconds: float, generation: int = 2) -> None:
    info = {**FULL, "generation": generation}
    pauses("start", info)
    clock.now += seconds
    pauses("stop", info)


def test_survivors_of_a_long_collection_are_left_out_of_the_next(clock: Clock) -> None:
    pauses, before = Pauses(clock), gc.get_freeze_count()
    collection(pauses, clock, LONG / 2)
    collection(pauses, clock, LONG * 2, generation=1)
    assert gc.get_freeze_count() == before
    collection(pauses, clock, LONG * 2)
    assert gc.get_freeze_count() > before


def test_everything_is_looked_at_again_after_a_while(clock: Clock) -> None:
    pauses = Pauses(clock)
    collection(pauses, clock, LONG * 2)
    frozen = gc.get_freeze_count()
    clock.now += THAW
    pauses("start", FULL)
    assert gc.get_freeze_count() < frozen


def test_the_collector_takes_it_as_a_callback(clock: Clock) -> None:
    pauses = Pauses(clock)
    gc.callbacks.append(pauses)
    try:
        gc.collect()
    finally:
        gc.callbacks.remove(pauses)
