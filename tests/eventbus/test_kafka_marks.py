"""Progress fits into the metadata of a committed offset, whatever it is, and reads back as it was."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eventbus.bus import Attempt
from eventbus.errors import BusError
from eventbus.kafka.marks import ATTEMPTS, LIMIT, Marks, decode

EPOCH = 1_800_000_000_000


@given(
    floor=st.integers(0, 2**62),
    done=st.frozensets(st.integers(1, 5000), max_size=50),
    attempts=st.dictionaries(
        st.integers(1, 5000),
        st.builds(Attempt, count=st.integers(1, 255), not_before=st.integers(0, 2**31), error=st.text(max_size=40)),
        max_size=5,
    ),
)
def test_what_is_written_reads_back(floor: int, done: frozenset[int], attempts: dict[int, Attempt]) -> None:
    marks = Marks(
        EPOCH, frozenset(floor + d for d in done), {floor + delta: attempt for delta, attempt in attempts.items()}
    )

    assert decode(marks.encode(floor), floor) == marks


@pytest.mark.parametrize("density", [0.01, 0.5, 0.99])
def test_twenty_thousand_sequences_and_sixty_four_attempts_always_fit(density: float) -> None:
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    draw = random.Random(seed)
    floor = 5_000_000_000
    done = frozenset(seq for seq in range(floor + 1, floor + 20_001) if draw.random() < density)
    attempts = {
        floor + draw.randrange(1, 20_001): Attempt(count=draw.randrange(1, 9), not_before=1.8e9, error="boom" * 100)
        for _ in range(500)
    }
    text = Marks(EPOCH, done, attempts).encode(floor)
    back = decode(text, floor)

    assert len(text) <= LIMIT
    assert back.done == done
    assert len(back.attempts) >= ATTEMPTS
    most = sorted((attempt.count for attempt in attempts.values()), reverse=True)[: len(back.attempts)]
    assert sorted((attempt.count for attempt in back.attempts.values()), reverse=True) == most


def test_errors_give_way_before_attempts_do() -> None:
    attempts = {seq: Attempt(count=1, not_before=7.5, error="x" * 500) for seq in range(1, 41)}
    back = decode(Marks(EPOCH, frozenset(), attempts).encode(0), 0)

    assert back.attempts.keys() == attempts.keys()
    assert {attempt.not_before for attempt in back.attempts.values()} == {7.5}


@pytest.mark.parametrize("text", ["", "a note of somebody else", "~~~~"])
def test_what_others_committed_is_no_progress_of_ours(text: str) -> None:
    assert decode(text, 10) == Marks(0)


def test_progress_of_a_newer_release_is_not_guessed_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eventbus.kafka.marks.VERSION", 2)
    text = Marks(EPOCH).encode(0)
    monkeypatch.undo()

    with pytest.raises(BusError, match="newer Evoke"):
        decode(text, 0)
