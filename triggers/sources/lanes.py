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
from eventbus.cloudevents import Malformed, Spoofed, dedupe_id, encode
from eventbus.errors import BusError, TooLarge
from triggers.sources.outlet import REJECTED_TYPE
from triggers.sources.source import Publish

Done: TypeAlias = Callable[[], None]

RETRY_FIRST, RETRY_CAP = 0.1, 5.0
MAX_HELD, MAX_BYTES = 4096, 64 << 20
"""Events, and bytes of them, above which there is no room for what nobody holds back."""
SATURATED_AFTER = 5.0
"""Seconds that an event may wait for the bus before the source counts as saturated."""

log = logging.getLogger(__name__)


class Converted(msgspec.Struct, frozen=True):
    """One event as the bus takes it."""

    payload: bytes
    key: str
    dedupe: str
    place: str
    """Where it stands outside, or a name for its arrival; unique in its source."""


class Waiting:
    """One event in its lane."""

    __slots__ = ("_started", "at", "done", "event", "withdrawn")

    def __init__(self, event: Converted, done: Done) -> None:
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
        self._source, self._uri, self._publish = source, uri, publish
        self._lanes: dict[str, deque[Waiting]] = {}
        self._workers: dict[str, asyncio.Task[None]] = {}
        self.held = self.published = self.rejected = self._bytes = 0
        self.trouble = ""
        """What the bus said last, while it does not take what it is given."""
        self.remark = ""
        """How much was rejected, and why the last was."""

    def put(self, lane: str, event: Converted, done: Done) -> Waiting:
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
        return self.put("", self._rejected(place, "", why), done)

    def _rejected(self, place: str, key: str, why: str) -> Converted:
        self.rejected += 1
        self.remark = f"{self.rejected} messages were rejected; the last: {why}"
        log.warning("%s: %s is rejected: %s", self._source, place, why)
        extensions = {"evokeerror": why[:1000], **({"partitionkey": key} if key else {})}
        payload = encode(id=place, source=self._uri, type=REJECTED_TYPE, extensions=extensions)
        return Converted(payload, key, dedupe_id(self._uri, f"rejected {place}"), place)

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
                await self._store(waiting[0].event)
            done = waiting.popleft()
            self.held -= 1
            self._bytes -= len(done.event.payload)
            done.done()
        del self._lanes[lane], self._workers[lane]

    async def _store(self, event: Converted) -> None:
        wait, first = RETRY_FIRST, event
        while True:
            try:
                await self._publish(event.payload, key=event.key, dedupe=event.dedupe)
            except (TooLarge, Malformed, Spoofed) as error:
                if event is not first:
                    return
                event = self._rejected(event.place, event.key, str(error))
            except BusError as error:
                self.trouble = str(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP)
            else:
                self.published += 1
                self.trouble = ""
                return

    def reading(self) -> tuple[str, str]:
        """A Connected reason and its message while the bus does not keep up; else what there is to remark."""
        if self.saturated:
            return "SourceSaturated", self.trouble or f"{self.held} messages wait for the bus"
        return "", self.remark

    async def stop(self) -> None:
        workers = list(self._workers.values())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
