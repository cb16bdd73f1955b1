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
"""Of a new sample in the moving means."""


class HandlerTime:
    """Moving means of the time that events take in one revision, in seconds.

    A reply's time alone says little: among thirty POSTs to a busy process each waits for the others. By Little's law
    the replica spends *elapsed / in flight* on each event, whether they went one by one or together.
    """

    __slots__ = ("elapsed", "mean", "timed")

    def __init__(self) -> None:
        self.mean = 0.0
        """Seconds of the replica per event: what a batch of many costs."""
        self.elapsed = 0.0
        """Seconds from POST to reply: for how long an event takes credit."""
        self.timed = 0

    def add(self, elapsed: float, events: int, in_flight: int) -> None:
        """One POST of *events* took *elapsed* seconds, with so many *in_flight* at its replica, its own among them."""
        sample = elapsed / max(events, in_flight)
        weight = WEIGHT if self.timed else 1.0
        self.mean += weight * (sample - self.mean)
        self.elapsed += weight * (elapsed - self.elapsed)
        self.timed += events

    def batch(self, credit: int, largest: int) -> int:
        """Events of the next POST, given free *credit* and the *largest* batch the replica takes (0: none)."""
        if largest <= 1 or self.timed < LEARN or self.mean >= SLOW:
            return min(credit, 1)
        return max(1, min(credit, largest, LARGEST, int(BUDGET / max(self.mean, 1e-6))))
