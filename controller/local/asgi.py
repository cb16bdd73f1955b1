"""A small ASGI application for JSON: routes, errors, and NDJSON streams that end with their reader."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias
from urllib.parse import parse_qsl, unquote

import msgspec

from api.errors import EvokeError, InvalidInput, NotFound, Unavailable
from controller.errors import Conflict, NotHere

log = logging.getLogger(__name__)

MAX_BODY = 32 << 20
_STATUS: Mapping[type[EvokeError], int] = {NotFound: 404, Conflict: 409, Unavailable: 503, NotHere: 422}
_encoder = msgspec.json.Encoder(decimal_format="number")

Scope: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Mapping[str, Any]]]
Send: TypeAlias = Callable[[Mapping[str, Any]], Awaitable[None]]


class Request(msgspec.Struct, frozen=True):
    """What a handler sees; *params* are the named parts of the path."""

    params: Mapping[str, str]
    query: Mapping[str, str]
    body: bytes

    def flag(self, name: str) -> bool:
        """Whether a query parameter is set to something true."""
        return self.query.get(name, "").lower() in {"1", "true", "yes"}

    def json(self, type_: Any = dict[str, Any]) -> Any:
        """The body, or {} when there is none."""
        return msgspec.json.decode(self.body or b"{}", type=type_)


class Stream(msgspec.Struct, frozen=True):
    """Objects to send as NDJSON as they come."""

    items: AsyncIterator[Any]


Handler: TypeAlias = Callable[[Request], Awaitable[Any]]


class TooLarge(EvokeError):
    """The request is larger than 32 MiB."""


class Router:
    """The application: ``route(method, pattern, handler)``; ``{name}`` in a pattern is one part of the path."""

    def __init__(self) -> None:
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []

    def route(self, method: str, pattern: str, handler: Handler) -> None:
        """Serve *pattern* with *handler*."""
        expression = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", pattern)
        self._routes.append((method, re.compile(f"^{expression}$"), handler))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        try:
            answer = await self._answer(scope, receive)
        except InvalidInput as error:
            await _reply(send, 422, {"problems": error.problems})
        except EvokeError as error:
            await _reply(send, _status(error), _error(error.code, error.message, error.hint))
        except msgspec.MsgspecError as error:
            await _reply(send, 400, _error("E111", str(error), "send JSON as the API reference has it"))
        else:
            if isinstance(answer, Stream):
                await _stream(answer, receive, send)
            else:
                await _reply(send, 200, answer)

    async def _answer(self, scope: Scope, receive: Receive) -> Any:
        path, method = scope["path"], scope["method"]
        for verb, pattern, handler in self._routes:
            match = pattern.match(path)
            if match is not None and verb == method:
                query = dict(parse_qsl(scope["query_string"].decode(), keep_blank_values=True))
                params = {name: unquote(value) for name, value in match.groupdict().items()}
                return await handler(Request(params, query, await _body(receive)))
        raise NotFound(f"{method} {path} is not part of this API", code="E199")


async def _body(receive: Receive) -> bytes:
    held = bytearray()
    while True:
        message = await receive()
        held += message.get("body", b"")
        if len(held) > MAX_BODY:
            raise TooLarge("the request is larger than 32 MiB", hint="apply fewer documents at a time")
        if not message.get("more_body"):
            return bytes(held)


async def _reply(send: Send, status: int, body: Any) -> None:
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": _encoder.encode(body) + b"\n"})


async def _stream(stream: Stream, receive: Receive, send: Send) -> None:
    """Send items until they end or the reader leaves."""
    headers = [(b"content-type", b"application/x-ndjson")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": True})  # the head goes out at once

    async def pump() -> None:
        async for item in stream.items:
            await send({"type": "http.response.body", "body": _encoder.encode(item) + b"\n", "more_body": True})

    pumping, leaving = asyncio.ensure_future(pump()), asyncio.ensure_future(_disconnected(receive))
    with contextlib.suppress(asyncio.CancelledError):  # the controller ends: so does the stream, without a word
        await asyncio.wait({pumping, leaving}, return_when=asyncio.FIRST_COMPLETED)
    for task in (pumping, leaving):
        task.cancel()
    with contextlib.suppress(asyncio.CancelledError, OSError):
        await pumping
    await send({"type": "http.response.body", "body": b""})  # after its end, or to nobody, this does nothing


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _status(error: EvokeError) -> int:
    if isinstance(error, TooLarge):
        return 413
    return next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)


def _error(code: str, message: str, hint: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message, "hint": hint}}
