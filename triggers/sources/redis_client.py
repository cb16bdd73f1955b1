"""One Redis stream and our group in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from api.meta import Key
from eventbus.redis.connection import Connection, Found
from eventbus.redis.connection import Entry as Added
from eventbus.redis.server import BadServer, Server, read_server, seconds
from triggers.sources.redis_entries import Entry
from triggers.sources.source import BadSource

BATCH = 200
"""Entries of one read, at most, and about as many as BATCH_BYTES hold."""
BATCH_BYTES = 4 << 20
BLOCK = 2.0
"""Seconds for which the server holds a read while there is nothing new."""
CONSUMER = "evoke"
"""One name for whoever owns the source: the next owner finds what the last one left, and goes on in order."""


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stream is and how it is read; times in seconds."""

    server: Server
    stream: str
    group: str
    idle: float = 15.0
    """After which another consumer's entry is taken over; 0: never."""
    claim_every: float = 60.0
    """0: never."""
    retry_first: float = 0.1
    retry_cap: float = 5.0


def read_settings(key: Key, options: Mapping[str, str]) -> Settings:
    """From the fields of an EventSource, or of a component whose bridge this is; raises BadSource."""
    owner, _, event = key.name.partition(".")
    try:
        return Settings(
            server=read_server(options),
            stream=options.get("stream") or event,
            group=options.get("consumerGroup") or options.get("consumerID") or f"{key.namespace}-{owner}-{event}",
            idle=seconds(options, "processingTimeout", 15.0),
            claim_every=seconds(options, "redeliverInterval", 60.0),
            retry_first=seconds(options, "redisMinRetryInterval", 0.1) or 0.1,
            retry_cap=seconds(options, "redisMaxRetryInterval", 5.0) or 5.0,
        )
    except BadServer as error:
        raise BadSource(error.message, hint=error.hint) from error


class RedisStream:
    """Reads and acknowledges as our group's consumer. Every method raises BusError subclasses only."""

    def __init__(self, settings: Settings) -> None:
        self._stream, self._group, self._idle = settings.stream, settings.group, settings.idle
        self._connection = Connection(settings.server, settings.group, waits=BLOCK)
        self._count = BATCH

    async def open(self) -> None:
        """Connect, and make the group, which begins at the oldest entry."""
        await self._connection.open()
        await self._connection.make_group(self._stream, self._group)

    async def read(self, after: str) -> list[Entry]:
        """Entries given to us after that id and not acknowledged; ``>``: new ones, once there are any.

        One without fields was deleted from the stream meanwhile.
        """
        found = await self._connection.read(self._stream, self._group, CONSUMER, after, count=self._count)
        return self._sized(found)

    async def claim(self) -> list[Entry]:
        """Take over what another consumer of the group left, oldest first."""
        found = await self._connection.claim(self._stream, self._group, CONSUMER, idle=self._idle, count=self._count)
        return self._sized(found)

    def _sized(self, found: Found) -> list[Entry]:
        """Let the next read be as large as these say: the server limits a read by entries, not by bytes."""
        entries = [Entry(id_.decode(), fields or {}) for id_, fields in found]
        size = sum(len(name) + len(value) for entry in entries for name, value in entry.fields.items())
        if size:
            self._count = max(1, min(BATCH, self._count * 2, BATCH_BYTES * len(entries) // size))
        return entries

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        await self._connection.acknowledge(self._stream, self._group, [entry.id for entry in entries])

    async def add(self, payload: bytes) -> None:
        """Append an entry."""
        (refusal,) = await self._connection.add_all([Added(self._stream, {"data": payload})])
        if refusal is not None:
            raise refusal

    async def close(self) -> None:
        await self._connection.close()
