"""The listener: client connections, their number and their clock."""

from __future__ import annotations

import asyncio
import contextlib

from gateway.connection import Connection, Handler
from gateway.errors import later
from gateway.limits import Limits
from gateway.reply import Reply

TICK = 0.5
"""Seconds between two looks at the time limits of all connections."""
BACKLOG = 1024


class Server:
    """Listens on TCP; one per gateway."""

    def __init__(self, handler: Handler, limits: Limits) -> None:
        self._handler, self._limits = handler, limits
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._clock: asyncio.Task[None] | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    async def start(self, host: str, port: int) -> tuple[str, int]:
        """Listen; returns the address, which tells the port that 0 became."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._accept, host, port, backlog=BACKLOG)
        self._clock = loop.create_task(self._tick())
        name = self._server.sockets[0].getsockname()
        return str(name[0]), int(name[1])

    async def stop(self) -> None:
        """Take nothing new, let running requests end within the drain time, then close."""
        if self._server is None or self._clock is None:
            return
        self._server.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._limits.drain.total_seconds()):
                while any(connection.busy for connection in self._connections):  # noqa: ASYNC110 - rare, and bounded
                    await asyncio.sleep(0.02)
        self._clock.cancel()
        for connection in list(self._connections):
            connection.close()
        await asyncio.sleep(0)

    def _accept(self) -> asyncio.Protocol:
        full = len(self._connections) >= self._limits.connections
        connection = Connection(_refuse if full else self._handler, self._limits, self._connections.discard)
        self._connections.add(connection)
        return connection

    async def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(TICK)
            now = loop.time()
            for connection in list(self._connections):
                connection.check(now)


async def _refuse(_: object, reply: Reply) -> None:
    reply.reject(later(503, "busy", "the gateway has as many connections as it takes"), keep=False)
