"""Events on their way to the bus: those of one lane in order, one at a time, lanes beside each other."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from api.meta import Key
from eventbus.cloudevents import Malformed, Spoofed
from eventbus.errors import BusError, TooLarge
from triggers.sources.source import Publish

Done: TypeAlias = Callable[[], None]

RETRY_FIRST, RETRY_CAP = 0.1, 5.0
SATURATED_AFTER = 5.0
"""Seconds that an event may wait for the bus before the source counts as saturated."""

log = logging.getLogger(__name__)


class Converted(msgspec.Struct, frozen=True):
    """One event as the bus takes it."""

    payload: bytes
    key: str
    dedupe: str


class _Waiting:
    __slots__ = ("at", "done", "event")

    def __init__(self, event: Converted, done: Done) -> None:
        self.event, self.done = event, done
        self.at = time.monotonic()


class Lanes:
    """Publishes until the bus has taken or refused each event; *done* of an event is called then."""

    def __init__(self, source: Key, publish: Publish) -> None:
        self._source, self._publish = source, publish
        self._lanes: dict[str, deque[_Waiting]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self.held = self.published = self.refused = 0
        self.trouble = ""
        """What the bus said last, while it does not take what it is given."""
        self.refusal = ""
        """Why the last event that was refused for good was."""

    def put(self, lane: str, event: Converted, done: Done) -> None:
        waiting = _Waiting(event, done)
        self.held += 1
        if lane in self._lanes:
            self._lanes[lane].append(waiting)
            return
        self._lanes[lane] = deque((waiting,))
        self._workers[lane] = asyncio.get_running_loop().create_task(self._drain(lane))

    def refuse(self, why: str) -> None:
        """Count a message of which no event can be made."""
        self.refused += 1
        self.refusal = why
        log.warning("%s: a message was refused: %s", self._source, why)

    @property
    def saturated(self) -> bool:
        """Whether an event waits for the bus too long."""
        oldest = min((lane[0].at for lane in self._lanes.values()), default=None)
        return oldest is not None and time.monotonic() - oldest > SATURATED_AFTER

    async def _drain(self, lane: str) -> None:
        waiting = self._lanes[lane]
        while waiting:
            await self._store(waiting[0].event)
            done = waiting.popleft()
            self.held -= 1
            done.done()
        del self._lanes[lane], self._workers[lane]

    async def _store(self, event: Converted) -> None:
        wait = RETRY_FIRST
        while True:
            try:
                await self._publish(event.payload, key=event.key, dedupe=event.dedupe)
            except (TooLarge, Malformed, Spoofed) as error:
                self.refuse(str(error))
                return
            except BusError as error:
                self.trouble = str(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP)
            else:
                self.published += 1
                self.trouble = ""
                return

    async def stop(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
