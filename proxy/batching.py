"""How many events go in one POST; pure."""

from __future__ import annotations

LEARN = 20
"""Events of a revision that are timed one by one before batches begin."""
SLOW = 0.005
"""Seconds of mean handler time from which a POST's own cost (about 0.1 ms) no longer matters."""
BUDGET = 0.025
"""Seconds that one batch may take: its slowest entry holds the credit of all."""
LARGEST = 100
WEIGHT = 0.2
"""Of a new sample in the moving mean."""


class HandlerTime:
    """Moving mean of the time one event takes in one revision, in seconds."""

    __slots__ = ("mean", "timed")

    def __init__(self) -> None:
        self.mean = 0.0
        self.timed = 0

    def add(self, elapsed: float, events: int) -> None:
        """One POST of *events* took *elapsed* seconds."""
        sample = elapsed / events
        self.mean = sample if not self.timed else self.mean + WEIGHT * (sample - self.mean)
        self.timed += events

    def batch(self, credit: int, largest: int) -> int:
        """Events of the next POST, given free *credit* and the *largest* batch the replica takes (0: none)."""
        if largest <= 1 or self.timed < LEARN or self.mean >= SLOW:
            return min(credit, 1)
        return max(1, min(credit, largest, LARGEST, int(BUDGET / max(self.mean, 1e-6))))
