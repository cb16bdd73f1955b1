"""One unfinished event, the lane of events that share its key, and the lanes that could start now."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable
from typing import TypeAlias

from eventbus.bus import Incoming
from proxy.transitions import State

Route: TypeAlias = Callable[[str, int], Hashable]
"""(key, seq) -> the revision that takes it."""


class Entry:
    """One unfinished event. Only the window writes *state*."""

    __slots__ = (
        "arrived",
        "attempts",
        "error",
        "key",
        "lane",
        "metadata",
        "payload",
        "published",
        "seq",
        "size",
        "solo",
        "state",
    )

    def __init__(self, event: Incoming, lane: Lane, now: float) -> None:
        self.seq = event.seq
        self.key = event.key
        self.payload: bytes | None = event.payload
        self.size = len(event.payload)
        self.published = event.published
        self.metadata = event.metadata
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

    @property
    def startable(self) -> bool:
        return not self.busy and bool(self.entries) and self.entries[0].state == "waiting"


class Startable:
    """Lanes whose head may start, by route, first come first served."""

    def __init__(self, route: Route) -> None:
        self._route = route
        self._queues: dict[Hashable, deque[Lane]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._queues.values()))

    def of(self, route: Hashable) -> deque[Lane]:
        """Lanes of one *route*; whoever takes one off clears its *queued*."""
        queue = self._queues.get(route)
        if queue is None:
            queue = self._queues[route] = deque()
        return queue

    def routes(self) -> list[Hashable]:
        return [route for route, queue in self._queues.items() if queue]

    def settle(self, lane: Lane) -> None:
        """Queue *lane* if its head may start, take it off if not."""
        startable = lane.startable
        if startable and not lane.queued:
            self.of(self._route(lane.key, lane.entries[0].seq)).append(lane)
            lane.queued = True
        elif lane.queued and not startable:
            lane.queued = False
            for queue in self._queues.values():
                if lane in queue:
                    queue.remove(lane)

    def reroute(self, route: Route) -> None:
        """Ask *route* again for every lane."""
        lanes = [lane for queue in self._queues.values() for lane in queue]
        self._route, self._queues = route, {}
        for lane in lanes:
            lane.queued = False
            self.settle(lane)
