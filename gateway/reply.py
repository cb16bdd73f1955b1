"""One reply on its way to a client: head and body at once, or as it comes, in whichever framing the client reads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from email.utils import formatdate
from functools import lru_cache
from http import HTTPStatus
from typing import Protocol

import msgspec

from gateway.errors import Rejected

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
JSON = (b"content-type", b"application/json")


class Sink(Protocol):
    """The connection below."""

    def write(self, data: bytes) -> None: ...
    async def drained(self) -> None: ...
    def finished(self, *, keep: bool) -> None: ...


class Reply:
    """Used once: send(), or start(), write() ... end()."""

    __slots__ = ("_bodiless", "_chunked", "_head", "_keep", "_old", "_sink", "ended", "extra", "started", "status")

    def __init__(self, sink: Sink, *, head_only: bool, old: bool, keep: bool) -> None:
        self._sink = sink
        self._bodiless = head_only
        self._old, self._keep = old, keep
        self._chunked = False
        self._head = b""
        self.status = 0
        self.started = self.ended = False
        self.extra: list[tuple[bytes, bytes]] = []
        """Headers that every answer to this request carries."""

    def send(self, status: int, headers: Sequence[tuple[bytes, bytes]], body: bytes) -> None:
        """Answer with a body that is whole."""
        self.start(status, [*headers, (b"content-length", b"%d" % len(body))])
        self._sink.write(self._head if self._bodiless else self._head + body)
        self._head = b""
        self._finish()

    def reject(self, rejected: Rejected, *, keep: bool = True) -> None:
        """Answer with the one-line JSON of *rejected*."""
        self._keep = self._keep and keep
        error = {"code": rejected.code, "message": rejected.message, "hint": rejected.hint}
        body = msgspec.json.encode({"error": {name: text for name, text in error.items() if text}}) + b"\n"
        self.send(rejected.status, (*rejected.headers, JSON), body)

    def start(self, status: int, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """Fix the head; it leaves with the first bytes of the body."""
        self.started, self.status = True, status
        sized = any(name == b"content-length" for name, _ in headers)
        self._bodiless = self._bodiless or status in {204, 304}
        if not sized and not self._bodiless:
            self._chunked = not self._old
            self._keep = self._keep and self._chunked
        if not any(name == b"date" for name, _ in headers):
            headers = [*headers, (b"date", _date(int(time.time())))]
        lines = [b"HTTP/1.1 %d %b" % (status, _REASONS.get(status, b""))]
        lines += [b"%b: %b" % header for header in (*headers, *self.extra)]
        if self._chunked:
            lines.append(b"transfer-encoding: chunked")
        if not self._keep:
            lines.append(b"connection: close")
        self._head = b"\r\n".join(lines) + b"\r\n\r\n"

    def flush(self) -> None:
        """Send the head now: the body will be a while."""
        self._sink.write(self._head)
        self._head = b""

    async def write(self, data: bytes) -> None:
        """Pass body bytes on; waits while the client is slow."""
        if self._bodiless or not data:
            return
        self._sink.write(self._head + (b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data))
        self._head = b""
        await self._sink.drained()

    def end(self, last: bytes = b"") -> None:
        """Finish, with the body's *last* bytes."""
        tail = b"" if self._bodiless else last
        if self._chunked:
            tail = (b"%x\r\n%b\r\n" % (len(tail), tail) if tail else b"") + b"0\r\n\r\n"
        if self._head or tail:
            self._sink.write(self._head + tail)
            self._head = b""
        self._finish()

    def _finish(self) -> None:
        self.ended = True
        self._sink.finished(keep=self._keep)


@lru_cache(maxsize=1)
def _date(second: int) -> bytes:
    return formatdate(second, usegmt=True).encode()
