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


def look_ahead(credit: int, capacity: int) -> int:
    """Events to hold and await together, given the *credit* of all ready replicas (0: asleep)."""
    return min(max(AHEAD * credit, LEAST) if credit else SCAN, capacity)


class Pulls:
    """What the triggers of one process have asked their brokers for, in bytes."""

    def __init__(self) -> None:
        self._asked: dict[object, float] = {}

    def left(self, trigger: object) -> float:
        """Bytes that *trigger* may have under way, what it has included."""
        return max(0.0, min(PULL_BYTES, ALL_PULLS - sum(self._asked.values()) + self._asked.get(trigger, 0.0)))

    def asked(self, trigger: object, size: float) -> None:
        """*trigger* has so many bytes under way; 0: none."""
        if size > 0:
            self._asked[trigger] = size
        else:
            self._asked.pop(trigger, None)


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
