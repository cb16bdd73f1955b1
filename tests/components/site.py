"""An HTTP site for tests: answers as a handler says, and keeps what it was asked."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple


class Asked(NamedTuple):
    verb: str
    target: str
    headers: dict[str, str]
    body: bytes


class Reply(NamedTuple):
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    hang: bool = False


class Site:
    def __init__(self, handler: Callable[[Asked], Reply]) -> None:
        self._handler = handler
        self.asked: list[Asked] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                verb, target, _ = lines[0].split(" ")
                headers = {name.lower(): value.strip() for name, _, value in (one.partition(":") for one in lines[1:])}
                body = await reader.readexactly(int(headers.get("content-length", "0") or 0))
                self.asked.append(Asked(verb, target, headers, body))
                reply = self._handler(self.asked[-1])
                if reply.hang:
                    await reader.read()
                    break
                told = "".join(f"{name}: {value}\r\n" for name, value in reply.headers)
                length = "" if reply.status == 204 else f"content-length: {len(reply.body)}\r\n"
                body = b"" if verb == "HEAD" else reply.body
                writer.write(f"HTTP/1.1 {reply.status} X\r\n{told}{length}\r\n".encode() + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def site(
    handler: Callable[[Asked], Reply] = lambda _: Reply(), *, secure: ssl.SSLContext | None = None
) -> AsyncIterator[Site]:
    made = Site(handler)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=secure)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        await server.wait_closed()
