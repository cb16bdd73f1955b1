"""Which faults strike when: drawn from a seed, kept as JSON beside the result, replayable.

As in Jepsen: every period draws a subset of the kinds, about a quarter of the periods none; after each everything is
healed and must converge. The same seed and kinds give the same schedule. Replaying it is close, not exact: faults
strike real processes at the same events of the producer, not at the same instruction.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import msgspec

CALM_SHARE = 0.25
MOST = 3
"""Kinds that one period has at most."""


class Strike(msgspec.Struct, frozen=True):
    kind: str
    at: float
    """Share of the period's events that were sent before, 0..1."""
    seconds: float
    """How long it lasts, where it does."""


class Schedule(msgspec.Struct, frozen=True):
    seed: int
    periods: tuple[tuple[Strike, ...], ...]

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.format(msgspec.json.encode(self), indent=1) + b"\n")

    @property
    def strikes(self) -> int:
        return sum(map(len, self.periods))

    def kinds(self) -> dict[str, int]:
        """Kind -> how often it strikes."""
        found: dict[str, int] = {}
        for period in self.periods:
            for strike in period:
                found[strike.kind] = found.get(strike.kind, 0) + 1
        return dict(sorted(found.items()))


def load(path: Path) -> Schedule:
    return msgspec.json.decode(path.read_bytes(), type=Schedule)


def draw(seed: int, kinds: Sequence[str], periods: int, *, longest: float = 3.0) -> Schedule:
    """Every kind strikes at least once where there are periods enough; then chance decides."""
    chance = random.Random(seed)
    owed = sorted(kinds)
    chance.shuffle(owed)
    drawn = []
    for left in reversed(range(periods)):
        if chance.random() < CALM_SHARE and len(owed) <= left * MOST:
            drawn.append(())
            continue
        count = max(chance.randint(1, MOST), -(-len(owed) // (left + 1)))
        chosen = [owed.pop() for _ in range(min(len(owed), count))]
        if not chosen:
            chosen = chance.sample(sorted(kinds), chance.randint(1, min(MOST, len(kinds))))
        strikes = [Strike(kind, round(chance.uniform(0.05, 0.85), 3), _length(chance, longest)) for kind in chosen]
        drawn.append(tuple(sorted(strikes, key=lambda strike: strike.at)))
    return Schedule(seed, tuple(drawn))


def _length(chance: random.Random, longest: float) -> float:
    return round(chance.uniform(min(0.5, longest), longest), 2)
