"""When progress is written: at once when nothing is left to do, else every second or thousand events."""

from __future__ import annotations

from eventbus.errors import BusError
from proxy.hold import Hold
from proxy.window import Window

EVERY = 1.0
EVENTS = 1000
AGAIN = 1.0
"""Seconds until a commit that failed is tried again."""


class Commits:
    def __init__(self, hold: Hold) -> None:
        self._hold = hold
        self._dirty: set[int] = set()
        self._events = 0
        self._since = 0.0

    def moved(self, window: Window, events: int, now: float) -> bool:
        """*events* of *window* are done; answers whether a commit is due."""
        if not self._dirty:
            self._since = max(self._since, now)
        self._dirty.add(window.share)
        self._events += events
        return self.due(now)

    def due(self, now: float) -> bool:
        if not self._dirty:
            return False
        if now < self._since:  # the last one failed
            return False
        return self._events >= EVENTS or now - self._since >= EVERY or not self._hold.held

    def next(self) -> float | None:
        """Monotonic time by which one is due, whatever happens."""
        return self._since + EVERY if self._dirty else None

    async def commit(self, now: float) -> None:
        """Write the floor and the done map of every share that moved."""
        dirty, self._dirty, self._events, self._since = self._dirty, set(), 0, now
        for share in dirty:
            window = self._hold.windows[share]
            try:
                await self._hold.intake.commit(share, window.floor, window.done_above())
            except BusError as error:
                self._dirty.add(share)
                self._since = now + AGAIN
                self._hold.meter.last_error = str(error)
