"""Serve an App on sockets until told to stop; then drain.

SIGTERM and SIGINT: new connections are refused, requests on open ones get 503 with evoke-not-started, what runs is
finished, and the process ends with 0; with 1 if something still ran after the grace time.
"""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from functions_framework.app import App
from functions_framework.connection import Connection, Settings

MAX_BODY = 32 << 20
GRACE = timedelta(seconds=25)
SLOW = timedelta(seconds=30)
"""A request has to arrive within this time."""
IDLE = timedelta(minutes=5)
SWEEP = 5.0
BACKLOG = 1024


class Server:
    """Listens, sweeps away stalled connections, drains."""

    def __init__(self, app: App, *, max_body: int = MAX_BODY, grace: timedelta = GRACE) -> None:
        self.app = app
        self.settings = Settings(app.handle, max_body)
        self.grace = grace
        self._servers: list[asyncio.Server] = []
        self._stop = asyncio.Event()
        self._idle = asyncio.Event()
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self, sockets: Sequence[socket.socket]) -> None:
        """Begin to accept on *sockets*."""
        loop = asyncio.get_running_loop()
        self.app.start()
        for listener in sockets:
            make = loop.create_unix_server if listener.family == socket.AF_UNIX else loop.create_server
            self._servers.append(await make(lambda: Connection(self.settings), sock=listener, backlog=BACKLOG))
        self._sweeper = loop.call_later(SWEEP, self._sweep)

    def stop(self) -> None:
        """Begin to drain."""
        self._stop.set()

    async def wait(self) -> int:
        """Serve until stopped and drained; returns the exit status."""
        await self._stop.wait()
        return await self.drain()

    async def drain(self) -> int:
        """Finish what runs; 0 if that succeeded within the grace time."""
        self.app.on_idle = self._idle.set
        self.app.draining = True
        for server in self._servers:
            server.close()
        status = 0
        if self.app.in_flight:
            try:
                async with asyncio.timeout(self.grace.total_seconds()):
                    await self._idle.wait()
                    await self._written()
            except TimeoutError:
                status = 1
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self.settings.connections):
            connection.close()
        await self.app.stop()
        return status

    async def _written(self) -> None:
        """Wait until the last replies, streams among them, have been handed to the kernel."""
        while self.settings.tasks:
            await asyncio.wait(list(self.settings.tasks))

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in list(self.settings.connections):
            if connection.since and now - connection.since > SLOW.total_seconds():
                connection.expire()
        self._sweeper = asyncio.get_running_loop().call_later(SWEEP, self._sweep)


def run(
    app: App,
    sockets: Sequence[socket.socket],
    *,
    environ: Mapping[str, str] = os.environ,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Serve *app* on *sockets* in this process until it is told to stop; returns the exit status."""
    loop = _loop()
    try:
        return loop.run_until_complete(_main(app, sockets, environ, on_ready))
    finally:
        loop.close()


async def _main(
    app: App, sockets: Sequence[socket.socket], environ: Mapping[str, str], on_ready: Callable[[], None]
) -> int:
    server = Server(app, max_body=_integer(environ, "EVOKE_MAX_BODY", MAX_BODY), grace=_grace(environ))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, server.stop)
    await server.start(sockets)
    gc.freeze()
    on_ready()
    return await server.wait()


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # absent from an environment that could not build it
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _grace(environ: Mapping[str, str]) -> timedelta:
    return timedelta(seconds=_integer(environ, "EVOKE_GRACE", int(GRACE.total_seconds())))


def _integer(environ: Mapping[str, str], name: str, default: int) -> int:
    raw = environ.get(name, "")
    return int(raw) if raw.isdigit() else default
