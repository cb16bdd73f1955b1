"""When to stop taking events in because the function fails one after another; pure."""

from __future__ import annotations

IN_A_ROW = 20
"""Failed attempts in a row that open it."""
FIRST_PROBE = 1.0
LAST_PROBE = 30.0
"""Seconds between probes: doubling from the first to the last."""


class Breaker:
    """Open, it lets one probe event through at a time; the first success closes it."""

    def __init__(self) -> None:
        self.open = False
        self.next_probe = 0.0
        self._failures = 0
        self._pause = FIRST_PROBE

    def success(self) -> None:
        self.open, self._failures, self._pause = False, 0, FIRST_PROBE

    def failure(self, now: float, *, parked: int, capacity: int) -> None:
        """One attempt failed; *parked* of *capacity* events wait for a retry."""
        self._failures += 1
        if self.open and now < self.next_probe:
            return  # it started before the breaker opened
        if self.open:
            self._pause = min(self._pause * 2, LAST_PROBE)
            self.next_probe = now + self._pause
        elif self._failures >= IN_A_ROW or parked * 2 >= capacity:
            self.open, self._pause = True, FIRST_PROBE
            self.next_probe = now + self._pause

    def allows(self, now: float, *, in_flight: int) -> bool:
        """Whether something may start *now*: everything while closed, one event per probe time while open."""
        return not self.open or (now >= self.next_probe and in_flight == 0)
