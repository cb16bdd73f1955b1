"""When a replica may start: a cap on starts at the same time, fair over functions, and a back-off after crashes."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from datetime import timedelta

import msgspec

FIRST = timedelta(seconds=1)
CAP = timedelta(seconds=60)
HEALTHY = timedelta(seconds=10)
"""A replica that was ready this long ends a series of crashes."""


class Crashes(msgspec.Struct, frozen=True):
    """Consecutive failures of one revision; times are seconds of a monotonic clock."""

    count: int = 0
    not_before: float = 0.0

    def after_failure(self, now: float, *, ready_for: float | None = None) -> Crashes:
        """One more failure; *ready_for* is how long the replica had been ready, None: it never was.

        A replica that had been healthy is replaced at once; then the wait doubles from one second to one minute.
        """
        healthy = ready_for is not None and ready_for >= HEALTHY.total_seconds()
        count = 1 if healthy else self.count + 1
        if count == 1 and ready_for is not None:
            return Crashes(count, now)
        wait = min(FIRST.total_seconds() * 2 ** min(count - 1, 16), CAP.total_seconds())
        return Crashes(count, now + wait)


class Pace:
    """What is known of one revision only while this process runs."""

    def __init__(self) -> None:
        self.crashes = Crashes()
        self.starting = 0
        self.checking = False
        self.broken = False
        """The check said that the code cannot be loaded: only another revision helps."""
        self.removing = False
        self.wake: asyncio.TimerHandle | None = None


class FairSlots:
    """At most *limit* holders at a time; those that wait are served round robin over their owners."""

    def __init__(self, limit: int) -> None:
        self._free = limit
        self._waiting: OrderedDict[Hashable, deque[asyncio.Future[None]]] = OrderedDict()

    async def take(self, owner: Hashable) -> Callable[[], None]:
        """Wait for a slot; answers the call that gives it back (a second call does nothing)."""
        if self._free and not self._waiting:
            self._free -= 1
            return self._release_once()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(owner, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._release()
            raise
        return self._release_once()

    def _release_once(self) -> Callable[[], None]:
        held = True

        def release() -> None:
            nonlocal held
            if held:
                held = False
                self._release()

        return release

    def _release(self) -> None:
        while self._waiting:
            owner, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            if turns:
                self._waiting[owner] = turns  # to the end of the round
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
