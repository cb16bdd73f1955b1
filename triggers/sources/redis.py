"""Redis streams in: read by a consumer group of our own, acknowledged once the bus has the events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from api.frames import SourceReading
from api.model import Source
from eventbus.errors import BusError
from triggers.sources.manners import manner
from triggers.sources.outlet import Outlet
from triggers.sources.redis_client import RedisStream, read_settings
from triggers.sources.redis_entries import Entry, redis_event
from triggers.sources.source import Publish, SourceError
from triggers.sources.standing import tell

log = logging.getLogger(__name__)


class RedisSource:
    """Options: those of api.kinds.sources.RedisSource."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        self._key = source.key
        self._settings = read_settings(source.key, options)
        self._manner = manner(source, "redis", self._settings.stream)
        self._stream = RedisStream(self._settings)
        self.subscribed: Callable[[], Awaitable[None]] | None = None
        """Called while the server keeps entries for our group."""
        self._outlet: Outlet | None = None
        self._connected = False
        self._trouble = ("", "")
        self._lost = 0

    async def run(self, publish: Publish) -> None:
        outlet = self._outlet = Outlet(self._key, self._manner.uri, publish)
        telling = asyncio.get_running_loop().create_task(tell(lambda: self._connected, lambda: self.subscribed))
        wait = self._settings.retry_first
        try:
            while True:
                try:
                    await self._stream.open()
                    self._connected, self._trouble = True, ("", "")
                    wait = self._settings.retry_first
                    await self._bring(outlet)
                except BusError as error:
                    self._connected, self._trouble = False, (error.reason, str(error))
                    log.info("%s: %s", self._key, error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, self._settings.retry_cap)
        finally:
            self._connected = False
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await self._stream.close()

    async def _bring(self, outlet: Outlet) -> None:
        """First what was given to us before and not acknowledged, then what is new, for ever."""
        after = "0"
        while entries := await self._stream.read(after):
            after = entries[-1].id
            await self._take(outlet, entries)
        loop = asyncio.get_running_loop()
        claim_at = loop.time()
        while True:
            if self._settings.idle and self._settings.claim_every and loop.time() >= claim_at:
                while entries := await self._stream.claim():
                    await self._take(outlet, entries)
                claim_at = loop.time() + self._settings.claim_every
            if entries := await self._stream.read(">"):
                await self._take(outlet, entries)

    async def _take(self, outlet: Outlet, entries: Sequence[Entry]) -> None:
        there = [entry for entry in entries if entry.fields]
        if gone := len(entries) - len(there):
            self._lost += gone
            log.warning("%s: %d entries were deleted before they were read", self._key, gone)
        await outlet.store([redis_event(self._manner, entry, self._settings.stream) for entry in there])
        await self._stream.acknowledge(entries)

    def state(self) -> SourceReading:
        reason, message = self._trouble
        outlet = self._outlet
        if outlet is not None and not reason:
            reason, message = outlet.trouble()
        lost = f"{self._lost} entries were deleted before they were read" if self._lost else ""
        return SourceReading(
            source=self._key,
            connected=self._connected,
            received=outlet.received if outlet else 0,
            published=outlet.published if outlet else 0,
            reason=reason,
            message=message or lost,
        )

    async def publish(self, topic: str, payload: bytes) -> None:
        """Append an entry to the stream."""
        if topic not in {"", self._settings.stream}:
            raise SourceError(f"this source reads stream {self._settings.stream}, not {topic!r}")
        if not self._connected:
            raise SourceError(self._trouble[1] or "the source is not connected yet")
        try:
            await self._stream.add(payload)
        except BusError as error:
            raise SourceError(error.message, hint=error.hint) from error
