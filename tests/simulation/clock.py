"""Virtual time: a heap of callbacks, run in the order of their times, ties in the order they were asked for."""

from __future__ import annotations

import hashlib
import heapq
from collections.abc import Callable

Callback = Callable[[], None]


class Clock:
    def __init__(self) -> None:
        self.now = 0.0
        self._heap: list[tuple[float, int, Callback]] = []
        self._asked = 0
        self._trace = hashlib.sha256()

    def after(self, seconds: float, callback: Callback) -> None:
        self._asked += 1
        heapq.heappush(self._heap, (self.now + max(0.0, seconds), self._asked, callback))

    def every(self, seconds: float, callback: Callback) -> None:
        def again() -> None:
            callback()
            self.after(seconds, again)

        self.after(seconds, again)

    def run(self, until: float) -> None:
        while self._heap and self._heap[0][0] <= until:
            self.now, _, callback = heapq.heappop(self._heap)
            callback()
        self.now = until

    def note(self, *what: object) -> None:
        """Add to the trace, whose hash says whether two runs were the same."""
        self._trace.update(repr((round(self.now, 6), *what)).encode())

    @property
    def trace(self) -> str:
        return self._trace.hexdigest()
