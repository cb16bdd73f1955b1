"""Events on their way to the bus: those of one lane in order, one at a time, lanes beside each other."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

from api.meta import Key
from triggers.sources.source import Publish
from triggers.sources.storing import SATURATED_AFTER, Brought, Storing

Done: TypeAlias = Callable[[], None]

MAX_HELD, MAX_BYTES = 4096, 64 << 20
"""Events, and bytes of them, above which there is no room for what nobody holds back."""


class Waiting:
    """One event in its lane."""

    __slots__ = ("_started", "at", "done", "event", "withdrawn")

    def __init__(self, event: Brought, done: Done) -> None:
        self.event, self.done = event, done
        self.at = time.monotonic()
        self._started = self.withdrawn = False

    def start(self) -> bool:
        """Whether it is to be published."""
        self._started = True
        return not self.withdrawn

    def withdraw(self) -> None:
        """Publish it not: it comes again from outside. Without effect once it has begun."""
        self.withdrawn = not self._started


class Lanes:
    """Publishes until the bus has taken each event, or what stands for it; *done* of the event is called then."""

    def __init__(self, source: Key, uri: str, publish: Publish) -> None:
        self._storing = Storing(source, uri, publish)
        self._lanes: dict[str, deque[Waiting]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self.held = self._bytes = 0

    @property
    def published(self) -> int:
        return self._storing.published

    def put(self, lane: str, event: Brought, done: Done) -> Waiting:
        waiting = Waiting(event, done)
        self.held += 1
        self._bytes += len(event.payload)
        if lane in self._lanes:
            self._lanes[lane].append(waiting)
        else:
            self._lanes[lane] = deque((waiting,))
            self._workers[lane] = asyncio.get_running_loop().create_task(self._drain(lane))
        return waiting

    def reject(self, place: str, why: str, done: Done) -> Waiting:
        """Put what stands for a message of which no event can be made."""
        return self.put("", self._storing.rejection(place, "", why), done)

    @property
    def full(self) -> bool:
        return self.held >= MAX_HELD or self._bytes >= MAX_BYTES

    @property
    def saturated(self) -> bool:
        """Whether an event waits for the bus too long."""
        oldest = min((lane[0].at for lane in self._lanes.values()), default=None)
        return oldest is not None and time.monotonic() - oldest > SATURATED_AFTER

    async def _drain(self, lane: str) -> None:
        waiting = self._lanes[lane]
        while waiting:
            if waiting[0].start():
                await self._storing.store(waiting[0].event)
            done = waiting.popleft()
            self.held -= 1
            self._bytes -= len(done.event.payload)
            done.done()
        del self._lanes[lane], self._workers[lane]

    def reading(self) -> tuple[str, str]:
        """A Connected reason and its message while the bus does not keep up; else what there is to remark."""
        if self.saturated:
            return "SourceSaturated", self._storing.trouble or f"{self.held} messages wait for the bus"
        return "", self._storing.remark

    async def stop(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
