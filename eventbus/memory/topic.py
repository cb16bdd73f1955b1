"""One topic in memory."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from eventbus.bus import Incoming


class Stored(msgspec.Struct, frozen=True):
    """One event of a topic."""

    event: Incoming
    only: str
    """Member that may see it; empty: everyone."""


class Topic:
    """Its events by sequence, with those who are told of each."""

    def __init__(self) -> None:
        self.events: dict[int, Stored] = {}
        self.last = 0
        self.size = 0
        self.seen: dict[str, float] = {}
        self.listeners: set[Callable[[Stored], None]] = set()

    def add(self, payload: bytes, key: str, only: str = "") -> None:
        self.last += 1
        stored = Stored(Incoming(0, self.last, key, payload, time.time()), only)
        self.events[self.last] = stored
        self.size += len(payload)
        for listener in tuple(self.listeners):
            listener(stored)

    def above(self, seq: int, member: str) -> list[int]:
        return [s for s, stored in self.events.items() if s > seq and stored.only in {"", member}]

    def drop(self, seq: int) -> None:
        for gone in [s for s in self.events if s <= seq]:
            self.size -= len(self.events.pop(gone).event.payload)
