"""How many events to ask the broker for; pure."""

from __future__ import annotations

LEAST = 64
"""Look-ahead of an awake trigger, however small its credit."""
AHEAD = 4
"""Times the credit of ready replicas: covers the round trip of a pull, and a hot key in front of others."""
SCAN = 256
"""Look-ahead without any replica: enough to find what matches and how many keys could run."""
PULL_BYTES = 2 << 20
"""Bytes asked for and not yet received, by the mean size so far."""
ALL_PULLS = 32 << 20
"""The same, of all triggers of a process together."""
LEAST_PULL = 64 << 10
"""What each may have under way, however much the others have: most of that are requests of triggers that are idle."""


def look_ahead(credit: int, capacity: int) -> int:
    """Events to hold and await together, given the *credit* of all ready replicas (0: asleep)."""
    return min(max(AHEAD * credit, LEAST) if credit else SCAN, capacity)


class Pulls:
    """What the triggers of one process have asked their brokers for, in bytes."""

    def __init__(self) -> None:
        self._asked: dict[object, float] = {}
        self._all = 0.0

    def left(self, trigger: object) -> float:
        """Bytes that *trigger* may have under way, what it has included."""
        others = self._all - self._asked.get(trigger, 0.0)
        return max(LEAST_PULL, min(PULL_BYTES, ALL_PULLS - others))

    def asked(self, trigger: object, size: float) -> None:
        """*trigger* has so many bytes under way; 0: none."""
        self._all += size - self._asked.pop(trigger, 0.0)
        if size > 0:
            self._asked[trigger] = size
        if not self._asked:
            self._all = 0.0  # and no rounding is left


def demand(
    *, credit: int, capacity: int, held: int, outstanding: int, room: int, size: float, pull: float = PULL_BYTES
) -> int:
    """Events to ask for now, 0 until it is worth a request: *size* is the mean payload, *pull* the bytes that may be
    under way; one event always may."""
    target = look_ahead(credit, capacity)
    ask = min(target - held - outstanding, room - outstanding, int(pull / max(size, 1.0)) + 1 - outstanding)
    if ask <= 0 or (outstanding and held and ask < target // 4):
        return 0
    return ask
