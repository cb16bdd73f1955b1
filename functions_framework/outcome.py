"""How a handler decides an event's fate; anything else it raises is retried by the trigger's policy."""

from __future__ import annotations

from datetime import timedelta


class Reject(Exception):
    """Do not try this event again: it goes to the dead letters with *reason*."""

    def __init__(self, reason: str = "rejected by the handler") -> None:
        super().__init__(reason)
        self.reason = reason


class Retry(Exception):
    """Try this event again, *after* the given time (seconds or timedelta); None: by the trigger's backoff."""

    def __init__(self, after: timedelta | float | None = None, reason: str = "retry asked by the handler") -> None:
        super().__init__(reason)
        self.reason = reason
        self.after = timedelta(seconds=after) if isinstance(after, int | float) else after
