"""The little of ASGI that the platform's HTTP APIs need: requests whole, replies whole or as a stream of lines."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec

from api.errors import EvokeError

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]
App: TypeAlias = Callable[[Scope, Receive, Send], Awaitable[None]]


class BodyTooLarge(EvokeError):
    """The request is larger than the API takes."""


class Request(msgspec.Struct, frozen=True):
    """*params* are the named parts of the path, decoded; header names are lower case."""

    method: str
    path: str
    params: Mapping[str, str]
    query: Mapping[str, str]
    lines: Sequence[tuple[bytes, bytes]]
    """Header lines as they came."""
    body: bytes

    @property
    def headers(self) -> Mapping[bytes, bytes]:
        """The last line of each name."""
        return dict(self.lines)

    def flag(self, name: str) -> bool:
        """Whether a query parameter is set to something true."""
        return self.query.get(name, "").lower() in {"1", "true", "yes"}


class Reply(msgspec.Struct, frozen=True):
    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"


class Lines(msgspec.Struct, frozen=True):
    """JSON values, a line each, as they come."""

    items: AsyncIterator[bytes]


Answer: TypeAlias = Reply | Lines
Handler: TypeAlias = Callable[[Request], Awaitable[Answer]]
Refuse: TypeAlias = Callable[[EvokeError], Reply]


def json_reply(value: object, status: int = 200) -> Reply:
    return Reply(status, msgspec.json.encode(value) + b"\n")


class Router:
    """``{name}`` in a pattern is one segment of the path, ``{name*}`` everything that is left."""

    def __init__(self, *, limit: int, refuse: Refuse, missing: Handler) -> None:
        """*limit*: bytes of a body. *refuse* turns errors into replies, *missing* answers unknown paths."""
        self._limit, self._refuse, self._missing = limit, refuse, missing
        self._routes: list[tuple[frozenset[str], re.Pattern[str], Handler]] = []

    def route(self, methods: Sequence[str], pattern: str, handler: Handler) -> None:
        expression = re.sub(r"\{(\w+)\*\}", r"(?P<\1>.*)", pattern)
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]*)", expression)
        self._routes.append((frozenset(methods), re.compile(expression), handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except EvokeError as error:
            answer = self._refuse(error)
        if isinstance(answer, Lines):
            await _stream(answer, receive, send)
        else:
            await _reply(answer, send)

    async def _answer(self, scope: Scope, receive: Receive) -> Answer:
        raw = scope.get("raw_path") or scope["path"].encode()
        path = raw.partition(b"?")[0].decode("latin-1")
        handler, params = self._find(scope["method"], path)
        query = dict(parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True))
        body = await self._body(receive)
        return await handler(Request(scope["method"], path, params, query, list(scope["headers"]), body))

    def _find(self, method: str, path: str) -> tuple[Handler, dict[str, str]]:
        for methods, pattern, handler in self._routes:
            if method in methods and (match := pattern.fullmatch(path)):
                return handler, {name: unquote(value) for name, value in match.groupdict().items()}
        return self._missing, {}

    async def _body(self, receive: Receive) -> bytes:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body"):
            parts = [body]
            size = len(body)
            while message.get("more_body") and size <= self._limit:
                message = await receive()
                parts.append(message.get("body", b""))
                size += len(parts[-1])
            body = b"".join(parts)
        if len(body) > self._limit:
            raise BodyTooLarge(f"the request is larger than {self._limit >> 20} MiB")
        return body


async def _reply(reply: Reply, send: Send) -> None:
    headers = [(b"content-length", str(len(reply.body)).encode())] if reply.status != 204 else []
    if reply.body:
        headers.append((b"content-type", reply.content_type.encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


async def _stream(lines: Lines, receive: Receive, send: Send) -> None:
    """Send lines until they end or the reader leaves."""
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head goes out at once

    async def pump() -> None:
        async for item in lines.items:
            await send({"type": "http.response.body", "body": item + b"\n", "more_body": True})

    pumping, leaving = asyncio.ensure_future(pump()), asyncio.ensure_future(_disconnected(receive))
    with contextlib.suppress(asyncio.CancelledError):  # the process ends: so does the stream, without a word
        await asyncio.wait({pumping, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in (pumping, leaving):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError, EvokeError):
        await pumping
    await send({"type": "http.response.body", "body": b""})  # after its end, or to nobody, this does nothing


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
