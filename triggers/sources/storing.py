"""One event after the other onto the bus: again until it is there, or what stands for it."""

from __future__ import annotations

import asyncio
import logging

import msgspec

from api.meta import Key
from eventbus.cloudevents import Malformed, Spoofed, dedupe_id, encode
from eventbus.errors import BusError, TooLarge
from triggers.sources.source import Publish

REJECTED_TYPE = "io.evoke.source.rejected"
"""Stands for what the bus does not take: same id and key, extension ``evokeerror``, no data."""
RETRY_FIRST, RETRY_CAP = 0.1, 5.0
SATURATED_AFTER = 5.0
"""Seconds that an event may wait for the bus before the source counts as saturated."""

log = logging.getLogger(__name__)


class Brought(msgspec.Struct, frozen=True):
    """One event as the bus takes it."""

    payload: bytes
    key: str
    """Ordering key; empty: none."""
    dedupe: str
    place: str
    """Where it stands outside, or a name for its arrival; unique in its source."""


class Storing:
    """How one source's events fare."""

    def __init__(self, source: Key, uri: str, publish: Publish) -> None:
        self._source, self._uri, self._publish = source, uri, publish
        self.published = self.rejected = 0
        self.trouble = ""
        """What the bus said last, while it does not take what it is given."""
        self.remark = ""
        """How much was rejected, and why the last was."""

    async def store(self, event: Brought) -> None:
        """Return once the bus has acknowledged *event*, or an event that says why it never will."""
        wait, first = RETRY_FIRST, event
        while True:
            try:
                await self._publish(event.payload, key=event.key, dedupe=event.dedupe)
            except (TooLarge, Malformed, Spoofed) as error:
                if event is not first:
                    return
                event = self.rejection(event.place, event.key, str(error))
            except BusError as error:
                self.trouble = str(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP)
            else:
                self.published += 1
                self.trouble = ""
                return

    def rejection(self, place: str, key: str, why: str) -> Brought:
        """What stands for a message of which no event can be made, or none that the bus takes."""
        self.rejected += 1
        self.remark = f"{self.rejected} messages were rejected; the last: {why}"
        log.warning("%s: %s is rejected: %s", self._source, place, why)
        extensions = {"evokeerror": why[:1000], **({"partitionkey": key} if key else {})}
        payload = encode(id=place, source=self._uri, type=REJECTED_TYPE, extensions=extensions)
        return Brought(payload, key, dedupe_id(self._uri, f"rejected {place}"), place)
