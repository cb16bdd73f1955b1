"""The window of a subscription without order: an event whose retry is far away leaves it, but for its place.

Its payload is dropped and read again when its time comes, and it takes no room from others: thousands that wait for a
receiver stop nobody. Only its sequence still holds the floor; past half of what a broker can record above a floor, the
oldest of them are moved to the end of the subject (see Settler.move).
"""

from __future__ import annotations

from typing import Any

from proxy.bounds import MAX_BYTES, MAX_SPAN
from proxy.lanes import Entry
from proxy.transitions import State
from proxy.window import Window

FAR = 5.0
"""Seconds until a retry from which it leaves the window."""
AT_ONCE = 64
"""Payloads read again at a time."""
LATER = 0.1
"""Seconds until those are tried that found no room."""
PINNED = MAX_SPAN // 2
"""Sequences above the floor from which what holds it is moved."""


class LooseWindow(Window):
    """Window without order; see there."""

    def __init__(self, share: int = 0, **given: Any) -> None:
        self._asleep: dict[int, float] = {}
        super().__init__(share, keyed=False, **given)

    @property
    def asleep(self) -> int:
        """Events that are parked outside."""
        return len(self._asleep)

    @property
    def room(self) -> int:
        if self.held_bytes >= MAX_BYTES:
            return 0
        awake = len(self._entries) - len(self._asleep)
        return max(0, min(self.capacity - awake, MAX_SPAN - len(self._order)))

    def leave(self, entry: Entry, until: float) -> None:
        """A parked event need not be held: it comes again at monotonic *until*."""
        if entry.payload is not None:
            entry.payload = None
            self.held_bytes -= entry.size
        self._asleep[entry.seq] = until

    def wake(self, now: float) -> list[Entry]:
        missing = super().wake(now)
        room = max(1, min(AT_ONCE, self.room))
        for entry in missing[room:]:
            self.postpone(entry, now + LATER)
        return missing[:room]

    def pinning(self, count: int) -> list[tuple[Entry, float]]:
        """Up to *count* of the oldest events outside, and when they come again, once they hold too much back."""
        if len(self._order) < PINNED:
            return []
        found: list[tuple[Entry, float]] = []
        for seq in self._order:
            if seq in self._done:
                continue
            until = self._asleep.get(seq)
            if until is None or len(found) == count:
                break
            found.append((self._entries[seq], until))
        return found

    def _leave(self, entry: Entry, state: State) -> None:
        super()._leave(entry, state)
        self._asleep.pop(entry.seq, None)
