"""From a source that is read in order to the bus: each event again until it is stored, one key's in order."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

from api.meta import Key
from eventbus.cloudevents import Malformed, dedupe_id, encode
from eventbus.errors import BusError, TooLarge
from triggers.sources.source import Publish

REJECTED_TYPE = "io.evoke.source.rejected"
"""Stands for what the bus does not take: same id and key, extension ``evokeerror``, no data."""
RETRY_FIRST, RETRY_CAP = 0.1, 5.0
SATURATED_AFTER = 5.0
"""Seconds that events may wait for the bus before the source counts as saturated."""

log = logging.getLogger(__name__)


class Brought(NamedTuple):
    """One event on its way to the bus."""

    payload: bytes
    key: str
    """Ordering key; empty: none."""
    dedupe: str
    place: str
    """Where it stands outside; unique in its source."""


class Outlet:
    """What one source brings to the bus, and how that goes."""

    def __init__(self, source: Key, uri: str, publish: Publish) -> None:
        self._source, self._uri, self._publish = source, uri, publish
        self.received = self.published = self.rejected = 0
        self._waiting: dict[str, float] = {}
        """Place -> since when (monotonic) what stands there is refused."""
        self._why = ""

    async def store(self, batch: Sequence[Brought]) -> None:
        """Return once the bus has acknowledged all of *batch*, or what stands for it."""
        self.received += len(batch)
        lanes: dict[tuple[str, int], list[Brought]] = {}
        for number, one in enumerate(batch):
            lanes.setdefault((one.key, 0 if one.key else number), []).append(one)
        async with asyncio.TaskGroup() as tasks:
            for lane in lanes.values():
                tasks.create_task(self._in_order(lane))

    def trouble(self) -> tuple[str, str]:
        """A Connected reason and its message while the bus does not keep up; empty: it does."""
        if self._waiting and time.monotonic() - min(self._waiting.values()) > SATURATED_AFTER:
            return "SourceSaturated", self._why
        return "", f"{self.rejected} events were rejected by the bus" if self.rejected else ""

    async def _in_order(self, lane: Sequence[Brought]) -> None:
        for one in lane:
            try:
                await self._until_stored(one)
            finally:
                self._waiting.pop(one.place, None)

    async def _until_stored(self, one: Brought) -> None:
        wait, first = RETRY_FIRST, one
        while True:
            try:
                await self._publish(one.payload, key=one.key, dedupe=one.dedupe)
            except (TooLarge, Malformed) as error:
                log.warning("%s: %s is not taken by the bus: %s", self._source, one.place, error)
                if one is not first:
                    return
                self.rejected += 1
                one = self._instead(one, error)
            except BusError as error:
                self._waiting.setdefault(one.place, time.monotonic())
                self._why = str(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP)
            else:
                self.published += 1
                return

    def _instead(self, one: Brought, error: BusError) -> Brought:
        extensions = {"evokeerror": str(error)[:1000], **({"partitionkey": one.key} if one.key else {})}
        payload = encode(id=one.place, source=self._uri, type=REJECTED_TYPE, extensions=extensions)
        return Brought(payload, one.key, dedupe_id(self._uri, f"rejected {one.place}"), one.place)
