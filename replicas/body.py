"""A message body on its way from a socket to its reader, with back-pressure: memory stays flat however long it is."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

HIGH = 256 << 10
LOW = 64 << 10


class Body:
    """Chunks in order, then the end or an error. One reader. *pause* and *resume* steer the socket."""

    __slots__ = ("_chunks", "_error", "_pause", "_paused", "_resume", "_size", "_waiter", "ended")

    def __init__(self, pause: Callable[[], None], resume: Callable[[], None]) -> None:
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._pause, self._resume = pause, resume
        self._paused = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.ended = False
        """The last byte came; chunks may still wait to be read."""

    @property
    def waiting(self) -> bool:
        """Whether chunk() would have to wait."""
        return not self._chunks and not self.ended and self._error is None

    @property
    def exhausted(self) -> bool:
        """Whether everything was read."""
        return self.ended and not self._chunks

    def feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)
        if self._size > HIGH and not self._paused:
            self._paused = True
            self._pause()
        self._wake()

    def end(self) -> None:
        self.ended = True
        self._wake()

    def fail(self, error: Exception) -> None:
        """The rest will not come; what came is still read first."""
        if not self.ended and self._error is None:
            self._error = error
            self._wake()

    async def chunk(self) -> bytes:
        """Return the next bytes; empty at the end. Raises what fail() was told."""
        while not self._chunks:
            if self.ended:
                return b""
            if self._error is not None:
                raise self._error
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = self._chunks.popleft()
        self._size -= len(data)
        if self._paused and self._size < LOW:
            self._paused = False
            self._resume()
        return data

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        while data := await self.chunk():
            yield data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
