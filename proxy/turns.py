"""Deficit round robin over the owners of one process: a busy trigger delays another by a few batches, never more."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Protocol

EVENTS = 64
BYTES = 256 << 10
"""Quantum of one turn; a batch that goes over it is paid back in the next turn."""


class Player(Protocol):
    def turn(self, events: int, size: int) -> tuple[int, int]:
        """Start about so many events and payload bytes; answers what was started, (0, 0) when nothing could."""
        ...


class Turns:
    """Gives each ready player one quantum per round, and the event loop a pass between two players."""

    def __init__(self) -> None:
        self._queue: deque[Player] = deque()
        self._debts: dict[Player, tuple[int, int]] = {}
        self._scheduled = False

    def ready(self, player: Player) -> None:
        """*player* may have something to start; it gets its turn, once, however often it asks."""
        if player in self._debts:
            return
        self._debts[player] = (0, 0)
        self._queue.append(player)
        self._schedule()

    def leave(self, player: Player) -> None:
        """*player* ended."""
        if self._debts.pop(player, None) is not None:
            self._queue.remove(player)

    def _schedule(self) -> None:
        if self._queue and not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        self._scheduled = False
        if not self._queue:
            return
        player = self._queue.popleft()
        debt, debt_bytes = self._debts.pop(player)
        events, size = EVENTS - debt, BYTES - debt_bytes
        if events > 0 and size > 0:
            started, started_bytes = player.turn(events, size)
            if started:
                self._again(player, started - events, started_bytes - size)
        else:
            self._again(player, -events, -size)
        self._schedule()

    def _again(self, player: Player, debt: int, debt_bytes: int) -> None:
        if player not in self._debts:
            self._debts[player] = (max(0, debt), max(0, debt_bytes))
            self._queue.append(player)
