"""Which proxies count as there: those that are connected, and those that will be again in a moment; pure."""

from __future__ import annotations

from collections.abc import Collection

AWAY = 5.0
"""Seconds for which a proxy that went away stays the home of its functions: it is started again at once, and to move
them there and back would break their connections twice."""


class Presence:
    """When each proxy was last seen, in monotonic seconds."""

    def __init__(self, expected: Collection[str] = (), *, now: float = 0.0) -> None:
        """*expected* are about to connect: functions shall not all come to whichever is first."""
        self._seen = dict.fromkeys(expected, now)

    def counted(self, connected: Collection[str], now: float) -> list[str]:
        """Names of those that count."""
        self._seen |= dict.fromkeys(connected, now)
        self._seen = {name: at for name, at in self._seen.items() if now - at < AWAY}
        return sorted(self._seen)

    def changes_in(self, connected: Collection[str], now: float) -> float | None:
        """Seconds until one that is away counts no more; None: that takes an event."""
        left = [AWAY - (now - at) for name, at in self._seen.items() if name not in connected and now - at < AWAY]
        return min(left, default=None)
