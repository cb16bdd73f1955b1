"""A request and its reply, as every server and adapter hands them over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec


class Request:
    """One HTTP request with its whole body; header names are lower case."""

    __slots__ = ("_lookup", "body", "client", "headers", "method", "path", "query", "raw_path", "secure")

    def __init__(
        self,
        method: str,
        path: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes = b"",
        *,
        query: bytes = b"",
        raw_path: bytes = b"",
        client: str = "",
        secure: bool = False,
    ) -> None:
        self.method = method
        self.path = path
        self.raw_path = raw_path or path.encode()
        self.query = query
        self.headers = headers
        self.body = body
        self.client = client
        self.secure = secure
        self._lookup: dict[bytes, bytes] | None = None

    @property
    def lookup(self) -> dict[bytes, bytes]:
        """Headers by name; of doubled ones the last."""
        if self._lookup is None:
            self._lookup = dict(self.headers)
        return self._lookup


class Reply:
    """One HTTP reply; the body is whole, or a stream whose end is the end of the reply."""

    __slots__ = ("after", "body", "close", "headers", "status")

    def __init__(
        self,
        status: int,
        body: bytes | AsyncIterator[bytes] = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        *,
        close: bool = False,
    ) -> None:
        self.status = status
        self.body = body
        self.headers = headers if headers is not None else []
        self.close = close
        """Whether the connection ends with this reply."""
        self.after: asyncio.Future[Any] | None = None
        """The thread that still runs when a deadline made this reply; its place is taken until it ends."""


JSON = (b"content-type", b"application/json")
TEXT = (b"content-type", b"text/plain; charset=utf-8")
NOT_STARTED = (b"evoke-not-started", b"1")

_encoder = msgspec.json.Encoder(enc_hook=str)


def json_reply(value: Any, status: int = 200) -> Reply:
    """Reply with JSON."""
    return Reply(status, _encoder.encode(value), [JSON])


def text_reply(text: str, status: int = 200) -> Reply:
    """Reply with text."""
    return Reply(status, text.encode(), [TEXT])


def not_started(reason: str, *, close: bool = False) -> Reply:
    """503 that promises the caller that nothing has begun, so that it may try elsewhere at once."""
    return Reply(503, reason.encode(), [TEXT, NOT_STARTED, (b"retry-after", b"1")], close=close)
