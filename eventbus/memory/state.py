"""Cells of the memory bus; what is past its time to live goes at the next look."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from eventbus.state import Cell, Conflict


class MemoryCells:
    def __init__(self, ttl: timedelta, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl, self._clock = ttl.total_seconds(), clock
        self._cells: dict[str, tuple[Cell, float]] = {}
        self._revision = 0

    async def get(self, key: str) -> Cell:
        cell, changed = self._cells.get(key, (Cell(b"", 0), 0.0))
        if cell.revision and self._clock() - changed >= self._ttl:
            del self._cells[key]
            return Cell(b"", 0)
        return cell

    async def put(self, key: str, value: bytes, revision: int) -> int:
        if (await self.get(key)).revision != revision:
            raise Conflict(f"somebody else changed {key}")
        self._revision += 1
        self._cells[key] = Cell(value, self._revision), self._clock()
        return self._revision
