"""Progress as a value: never back, never forgotten, always small."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus import progress
from eventbus.errors import BusError
from eventbus.progress import Mark

sequences = st.integers(min_value=0, max_value=1 << 40)
marks = sequences.flatmap(
    lambda floor: st.frozensets(st.integers(floor + 1, floor + 20_000), max_size=200).map(
        lambda done: Mark(floor, done)
    )
)


@given(marks)
def test_bytes_hold_all_of_it(mark: Mark) -> None:
    assert progress.decode(mark.encode()) == mark


@given(marks, sequences, st.sets(sequences))
def test_a_commit_never_moves_back(mark: Mark, floor: int, done: set[int]) -> None:
    moved = mark.moved(floor, done)

    assert moved.floor == max(mark.floor, floor)
    assert all(seq > moved.floor for seq in moved.done)
    assert {seq for seq in mark.done | done if seq > moved.floor} == moved.done


@given(st.lists(marks, min_size=1))
def test_what_any_record_says_is_done_is_done(records: list[Mark]) -> None:
    joined = progress.highest(records)

    for record in records:
        assert record.floor <= joined.floor
        assert all(seq <= joined.floor or seq in joined.done for seq in record.done)


def test_the_longest_span_fits_a_record() -> None:
    draw = random.Random(1)
    for share in (0.01, 0.5, 0.99):
        done = frozenset(seq for seq in range(2, 20_001) if draw.random() < share)
        assert len(Mark(1, done).encode()) < 2700


def test_a_newer_version_is_not_guessed_at() -> None:
    with pytest.raises(BusError, match="newer"):
        progress.decode(msgspec.msgpack.encode((2, 0, b"")))
