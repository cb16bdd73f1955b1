"""Counters of one subscription, and the times its events waited; pure."""

from __future__ import annotations

from bisect import bisect_left

SLOTS = 6
SLOT_SECONDS = 10.0
"""Waits are kept for the last minute, in slots that are dropped whole."""
BOUNDS = tuple(0.1 * 1.25**step for step in range(70))
"""Upper bounds of the buckets in milliseconds, 0.1 ms to 8 minutes, 25 % apart."""


class Waits:
    """Distribution of waiting times over the last minute."""

    def __init__(self) -> None:
        self._slots: list[tuple[int, list[int]]] = []

    def add(self, seconds: float, now: float) -> None:
        number = int(now / SLOT_SECONDS)
        if not self._slots or self._slots[-1][0] != number:
            self._slots.append((number, [0] * (len(BOUNDS) + 1)))
            self._slots = [slot for slot in self._slots if slot[0] > number - SLOTS]
        self._slots[-1][1][bisect_left(BOUNDS, seconds * 1000)] += 1

    def percentiles(self, now: float, *shares: float) -> list[float]:
        """Milliseconds below which each of *shares* (0..1) of the waits lie; 0 where nothing waited."""
        oldest = int(now / SLOT_SECONDS) - SLOTS
        counts = [sum(column) for column in zip(*(slot[1] for slot in self._slots if slot[0] > oldest), strict=True)]
        total = sum(counts)
        return [_bound(counts, share * total) if total else 0.0 for share in shares]


def _bound(counts: list[int], wanted: float) -> float:
    seen = 0
    for index, count in enumerate(counts):
        seen += count
        if count and seen >= wanted:
            return BOUNDS[min(index, len(BOUNDS) - 1)]
    return BOUNDS[-1]


class Meter:
    """What happened since the process started; outlives a lost and reopened ownership."""

    def __init__(self) -> None:
        self.arrived = 0
        """Events that matched."""
        self.done = 0
        self.failed = 0
        self.dead = 0
        self.untold = 0
        """Events of which filter or condition could not be told."""
        self.ratio = 1.0
        """Share of events that match, moving; 1 until one was seen."""
        self.size = 512.0
        """Moving mean of payload bytes."""
        self.last_error = ""
        self.waits = Waits()
        self._seen = 0

    def cannot_tell(self) -> None:
        """One more event of which filter or condition could not be told."""
        self.untold += 1

    def intake(self, events: int, matched: int, size: int) -> None:
        """*events* with *size* payload bytes came, of which *matched* did match."""
        weight = max(1 / (1 + self._seen / events), 0.05) if events else 0.0
        self._seen += events
        self.arrived += matched
        self.ratio += weight * (matched / events - self.ratio)
        self.size += weight * (size / events - self.size)
