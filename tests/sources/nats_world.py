"""What the tests of sources that read NATS share: somebody else's connection to the same server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from eventbus.errors import BusError
from eventbus.jetstream.api import JetStream
from eventbus.jetstream.connection import Connection


class Outsider:
    """A client of the server, with streams of its own."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.js = JetStream(connection)

    async def stream(self, name: str, *subjects: str, **settings: Any) -> None:
        await self.js.ensure_stream({"name": name, "subjects": list(subjects), "storage": "file", **settings})

    async def send(self, subject: str, data: bytes, **headers: str) -> None:
        """Store a message, again until it is acknowledged."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        while True:
            try:
                await self.js.store(subject, data, named or None)
            except BusError:
                await asyncio.sleep(0.05)  # the server restarts
            else:
                return

    async def say(self, subject: str, data: bytes, headers: dict[str, str] | None = None) -> None:
        """Publish what nobody stores."""
        await self._connection.send(subject, data, "", headers)
        await self.js.call("INFO")  # behind it on the same connection: now the server has it

    async def consumers(self, stream: str) -> list[str]:
        found: list[str] = msgspec.json.decode(await self.js.call(f"CONSUMER.NAMES.{stream}")).get("consumers") or []
        return sorted(found)

    async def waiting(self, stream: str) -> int:
        """Messages that are stored."""
        return (await self.js.stream_info(stream)).state.messages


@asynccontextmanager
async def outsider(options: Mapping[str, str]) -> AsyncIterator[Outsider]:
    connection = Connection(lambda: options, name="outsider")
    await connection.connect()
    try:
        yield Outsider(connection)
    finally:
        await connection.close()
