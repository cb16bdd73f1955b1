"""An HTTP receiver that is no function: what sinks point at; records what it was sent."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

Answer: TypeAlias = tuple[int, dict[str, str], str]
"""Status, headers, body."""


async def accept(_event: dict[str, Any]) -> Answer:
    return 202, {}, ""


class Web:
    """HTTP/1.1 on a loopback port that stays the same over stop() and start()."""

    def __init__(self, handler: Callable[[dict[str, Any]], Awaitable[Answer]] = accept) -> None:
        self.handler = handler
        self.port = 0
        self.heads: list[str] = []
        self.events: list[dict[str, Any]] = []
        self.running = self.most = 0
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/take?from=evoke"

    async def start(self) -> Web:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            for writer in self._writers:
                writer.transport.abort()
            self._server = None
            await asyncio.sleep(0)

    @property
    def numbers(self) -> list[int]:
        return [one["data"]["n"] for one in self.events]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = next(line for line in head.lower().split("\r\n") if line.startswith("content-length"))
                one = json.loads(await reader.readexactly(int(length.partition(":")[2])))
                await self._take(head, one, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _take(self, head: str, one: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            status, headers, body = await self.handler(one)
        finally:
            self.running -= 1
        self.heads.append(head)
        self.events.append(one)
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n{body}".encode())
        await writer.drain()
