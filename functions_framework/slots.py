"""How many calls may run at once; work beyond that waits in arrival order or is turned away."""

from __future__ import annotations

import asyncio
from collections import deque

MAX_WAITING = 1024


class NoRoom(Exception):
    """Everything is busy and the queue is full."""


class Slots:
    """A counter of free places, used from the event loop only."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.free = capacity
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def busy(self) -> int:
        """Places taken."""
        return self.capacity - self.free

    def take(self, wanted: int) -> int:
        """Take up to *wanted* places; 0 if there are none."""
        taken = min(wanted, self.free)
        self.free -= taken
        return taken

    async def wait(self) -> None:
        """Take one place as soon as there is one.

        Raises:
            NoRoom: too many wait already.
        """
        if self.free and not self._waiting:
            self.free -= 1
            return
        if len(self._waiting) >= MAX_WAITING:
            raise NoRoom
        turn = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.give(1)
            else:
                self._waiting.remove(turn)
            raise

    def give(self, places: int) -> None:
        """Return places; who waits gets them first."""
        self.free += places
        while self.free and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                self.free -= 1
                turn.set_result(None)
