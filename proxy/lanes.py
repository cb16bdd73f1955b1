"""One unfinished event, and the lane of events that share its key."""

from __future__ import annotations

from collections import deque

from eventbus.bus import Incoming
from proxy.transitions import State


class Entry:
    """One unfinished event. Only the window writes *state*."""

    __slots__ = ("arrived", "attempts", "error", "key", "lane", "payload", "published", "seq", "size", "solo", "state")

    def __init__(self, event: Incoming, lane: Lane, now: float) -> None:
        self.seq = event.seq
        self.key = event.key
        self.payload: bytes | None = event.payload
        self.size = len(event.payload)
        self.published = event.published
        self.arrived = now
        self.lane = lane
        self.state: State = "waiting"
        self.attempts = 0
        self.error = ""
        self.solo = False

    def __repr__(self) -> str:
        return f"Entry({self.seq}, {self.key!r}, {self.state}, attempts={self.attempts})"


class Lane:
    """Events of one key in sequence order; an event without a key has a lane of its own."""

    __slots__ = ("busy", "entries", "key", "queued")

    def __init__(self, key: str) -> None:
        self.key = key
        self.entries: deque[Entry] = deque()
        self.busy = 0
        """Entries started or unknown."""
        self.queued = False
