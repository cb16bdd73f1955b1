"""One accepted connection and its way to the server: bytes go through as they come, at the pace of the slower side."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast


class Side(asyncio.Protocol):
    """One of the two ends of a relayed connection; what it reads, its other writes."""

    def __init__(self, closed: Callable[[], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.other: Side | None = None
        self._closed = closed
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        if (to := self._beyond) is not None:
            to.write(data)
        elif self.other is None:
            self._early += data  # uvloop reads once more after pause_reading() in connection_made()

    def join(self, other: Side) -> None:
        """What is read from now on goes to *other*, and first what was read before."""
        self.other = other
        early, self._early = self._early, b""
        if early:
            self.data_received(early)

    def eof_received(self) -> bool:
        return False  # HTTP/2 knows no half of a connection: with one the other ends

    def pause_writing(self) -> None:
        if (source := self._beyond) is not None and not source.is_closing():
            source.pause_reading()

    def resume_writing(self) -> None:
        if (source := self._beyond) is not None and not source.is_closing():
            source.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:  # noqa: ARG002 - a protocol's signature
        if (to := self._beyond) is not None:
            to.close()
        self._closed()

    def close(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    @property
    def _beyond(self) -> asyncio.Transport | None:
        return self.other.transport if self.other is not None else None


def join(one: Side, other: Side) -> None:
    """Let bytes go both ways."""
    one.join(other)
    other.join(one)
