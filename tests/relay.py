"""A TCP relay between a client and a broker that does what networks do: delay, cut into slices, stop, reset, refuse.

It runs in a thread of its own, so that synchronous tests and asyncio ones use it alike. A weather holds for both
directions of every connection, those that stand included.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Self

from api.platform import LOOPBACK


@dataclass(frozen=True)
class Weather:
    """How bytes travel now."""

    delay: float = 0.0
    """Seconds that every chunk is late; order stays."""
    jitter: float = 0.0
    """Seconds that are added to or taken from it, at random."""
    piece: int = 0
    """Bytes of the pieces that a chunk is cut into; 0: as it came."""
    hole: bool = False
    """Nothing arrives, and nobody is told; what was sent arrives when the weather changes."""
    refuse: bool = False
    """New connections are reset at once."""


CALM = Weather()
CHUNK = 1 << 16


class Relay:
    """Listens on a port of the loopback and forwards to another; *seed* decides the jitter."""

    def __init__(self, target: int, *, host: str = LOOPBACK, seed: int = 0) -> None:
        self._target, self._host = target, host
        self._chance = random.Random(seed)
        self._weather = CALM
        self._loop = asyncio.new_event_loop()
        self._changed = asyncio.Event()
        self._links: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._listener = socket.create_server((LOOPBACK, 0))
        self.port: int = self._listener.getsockname()[1]
        self.address = f"{LOOPBACK}:{self.port}"
        self.accepted = 0
        """Connections so far."""
        self._thread = threading.Thread(target=self._run, name=f"relay {self.port}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def set(self, weather: Weather) -> None:
        """Change the weather; what waited in a hole goes on."""
        self._do(self._set, weather)

    def reset(self) -> None:
        """Send a RST to both ends of every connection that stands now."""
        self._do(self._reset)

    @contextmanager
    def storm(self, weather: Weather) -> Iterator[None]:
        """*weather* inside, calm after."""
        self.set(weather)
        try:
            yield
        finally:
            self.set(CALM)

    def _do(self, work: object, *arguments: object) -> None:
        done = threading.Event()

        def call() -> None:
            work(*arguments)  # type: ignore[operator]  # one of ours
            done.set()

        self._loop.call_soon_threadsafe(call)
        assert done.wait(10), "the relay's loop stands still"

    def _set(self, weather: Weather) -> None:
        self._weather = weather
        self._changed.set()
        self._changed = asyncio.Event()

    def _reset(self) -> None:
        for writer in list(self._links):
            _reset(writer)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._accept, sock=self._listener))
        try:
            self._loop.run_forever()
        finally:
            server.close()
            for writer in list(self._links):
                writer.transport.abort()
            pending = asyncio.all_tasks(self._loop)
            for task in pending:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*pending, return_exceptions=True))
            self._loop.close()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        if self._weather.refuse:
            _reset(writer)
            return
        try:
            far_reader, far_writer = await asyncio.open_connection(self._host, self._target)
        except OSError:
            _reset(writer)  # the broker refuses: so do we
            return
        self._links |= {writer, far_writer}
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, far_writer))
                tasks.create_task(self._pump(far_reader, writer))
        except* OSError:
            pass
        finally:
            self._links -= {writer, far_writer}
            for end in (writer, far_writer):
                end.transport.abort()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Chunks with the time at which they may go on; reading goes ahead of it, so that delay costs no bandwidth."""
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(64)
        sender = asyncio.create_task(self._send(queue, writer))
        try:
            while chunk := await reader.read(CHUNK):
                weather = self._weather
                late = max(0.0, weather.delay + weather.jitter * self._chance.uniform(-1, 1)) if weather.delay else 0.0
                await queue.put((self._loop.time() + late, chunk))
                if sender.done():
                    break
            await queue.put((0.0, b""))
            await sender
        finally:
            sender.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sender
        raise ConnectionResetError  # either end closed: so does the other

    async def _send(self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while True:
            due, chunk = await queue.get()
            if not chunk:
                return
            if (wait := due - self._loop.time()) > 0:
                await asyncio.sleep(wait)
            while self._weather.hole:
                await self._changed.wait()
            piece = self._weather.piece or len(chunk)
            for start in range(0, len(chunk), piece):
                writer.write(chunk[start : start + piece])
                await writer.drain()
                if piece < len(chunk):
                    await asyncio.sleep(0)  # a segment of its own


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close without the polite FIN: the other end sees ECONNRESET."""
    with contextlib.suppress(OSError):
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
