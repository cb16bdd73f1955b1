"""Servers on real sockets that write exact bytes."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from replicas.http import HttpClient, Response

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, path: Path | None, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Serve each connection with *serve*, on a Unix socket at *path* or on TCP; yields the address."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    if path is not None:
        server = await asyncio.start_unix_server(run, path)
        address = f"unix:{path}"
    else:
        server = await asyncio.start_server(run, "127.0.0.1", 0, ssl=tls)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)  # transports close in the next turn of the loop


def answering(reply: bytes, *, close: bool = True) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        if not close:
            await reader.read()

    return serve


async def exchange(serve: Serve, path: Path, *, seconds: float = 10, limit: int = 1 << 20) -> tuple[Response, bytes]:
    client = HttpClient()
    async with listening(serve, path) as address:
        try:
            response = await client.request(address, "POST", "/", [], b"x", timeout=seconds)
            return response, await response.read(limit)
        finally:
            await client.aclose()
