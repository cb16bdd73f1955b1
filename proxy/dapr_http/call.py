"""One request to the HTTP API, and what it is answered with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec

from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError, malformed
from replicas.asgi import Receive

T = TypeVar("T")

BODY_TIME = 30.0
"""Seconds within which a body that is read as a whole must be there."""
MOST_PARAMETERS = 1000


class Reply(msgspec.Struct, frozen=True):
    status: int = 204
    body: bytes = b""
    content_type: str = "application/json"
    headers: Sequence[tuple[bytes, bytes]] = ()


class Streamed(msgspec.Struct, frozen=True):
    """An answer whose body comes bit by bit; *close* is called at its end, whatever the end is."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    chunks: AsyncIterator[bytes]
    close: Callable[[], Any]
    left: Callable[[], Coroutine[Any, Any, None]] | None = None
    """Returns when the client has gone; None: all of the body is there, or the client is heard elsewhere."""


class Call:
    """*params* are the named parts of the path, decoded; header names are lower case."""

    __slots__ = ("_hold", "_query", "_receive", "caller", "lines", "method", "params", "path", "query_string")

    def __init__(
        self,
        method: str,
        path: str,
        query_string: str,
        lines: Sequence[tuple[bytes, bytes]],
        receive: Receive,
        hold: Callable[[int], None],
    ) -> None:
        """*path* is percent-encoded. *hold* is told the bytes of the body that are in memory, as they come."""
        self.method, self.path, self.query_string, self.lines = method, path, query_string, lines
        self._receive, self._hold = receive, hold
        self._query: list[tuple[str, str]] | None = None
        self.params: Mapping[str, str] = {}
        self.caller: Caller

    def header(self, name: bytes) -> str:
        """Value of the first header of that name; empty: there is none."""
        return next((value.decode("latin-1") for known, value in self.lines if known == name), "")

    @property
    def query(self) -> list[tuple[str, str]]:
        """Query parameters in their order; raises DaprError."""
        if self._query is None:
            try:
                self._query = parse_qsl(self.query_string, keep_blank_values=True, max_num_fields=MOST_PARAMETERS)
            except ValueError as error:
                raise malformed(f"the query cannot be read: {error}") from error
        return self._query

    def parameter(self, name: str) -> str:
        """The first query parameter of that name; empty: there is none."""
        return next((value for known, value in self.query if known == name), "") if self.query_string else ""

    def parameters(self, name: str) -> list[str]:
        return [value for known, value in self.query if known == name] if self.query_string else []

    @property
    def metadata(self) -> dict[str, str]:
        """Query parameters ``metadata.<name>``."""
        if not self.query_string:
            return {}
        return {name[9:]: value for name, value in reversed(self.query) if name[:9].lower() == "metadata."}

    async def body(self) -> bytes:
        """The whole body; raises DaprError when it is larger than the app's limit."""
        limit = self.check_length()
        message = await self._receive()
        body: bytes = message.get("body", b"")
        if not message.get("more_body"):
            self._check(len(body), limit)
            return body
        try:
            async with asyncio.timeout(BODY_TIME):
                return await self._rest(body, limit)
        except TimeoutError:
            message_ = f"the body did not come within {BODY_TIME:g} s"
            raise DaprError(408, "DEADLINE_EXCEEDED", "ERR_BODY_READ", message_) from None

    def check_length(self) -> int:
        """The limit of the app's bodies; raises DaprError for one that says that it is larger."""
        limit, length = self.caller.app.max_body, self.header(b"content-length")
        if length.isdigit() and int(length) > limit:
            raise too_large(limit)
        return limit

    async def _rest(self, first: bytes, limit: int) -> bytes:
        parts, size, more = [first], len(first), True
        self._hold(size)
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DaprError(400, "CANCELLED", "ERR_BODY_READ", "the client left before its request was whole")
            data: bytes = message.get("body", b"")
            more = message.get("more_body", False)
            size += len(data)
            self._check(size, limit)
            self._hold(len(data))
            parts.append(data)
        return b"".join(parts)

    @staticmethod
    def _check(size: int, limit: int) -> None:
        if size > limit:
            raise too_large(limit)

    async def stream(self) -> AsyncIterator[bytes]:
        """The body as it comes; raises DaprError above the app's limit, and when the client leaves."""
        limit, size, more = self.caller.app.max_body, 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise DaprError(400, "CANCELLED", "ERR_BODY_READ", "the client left before its request was whole")
            more = message.get("more_body", False)
            data: bytes = message.get("body", b"")
            size += len(data)
            self._check(size, limit)
            if data:
                yield data

    async def left(self) -> None:
        """Return when the client has gone; to be awaited only once the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def json(self, decoder: msgspec.json.Decoder[T], *, limit_error: str = "") -> T:
        """The body as what *decoder* reads; raises DaprError."""
        try:
            return decoder.decode(await self.body())
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(f"failed deserializing HTTP body{limit_error}: {error}") from error


def too_large(limit: int) -> DaprError:
    size = f"{limit >> 20} MiB" if limit % (1 << 20) == 0 else f"{limit} bytes"
    return DaprError(413, "RESOURCE_EXHAUSTED", "ERR_BODY_TOO_LARGE", f"the request is larger than {size}")


def json_reply(value: object, status: int = 200, headers: Sequence[tuple[bytes, bytes]] = ()) -> Reply:
    return Reply(status, msgspec.json.encode(value), headers=headers)


def metadata_headers(metadata: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Answer metadata as headers ``metadata.<name>``; what no header can hold is left out."""
    found = []
    for name, value in metadata.items():
        if name.isascii() and name.replace("-", "").replace("_", "").replace(".", "").isalnum():
            line = value.replace("\r", " ").replace("\n", " ").replace("\0", " ")
            found.append((f"metadata.{name}".encode(), line.encode()))
    return found
