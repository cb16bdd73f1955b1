"""The resource API's side of ASGI: handlers that take and answer JSON, errors as the command line reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import msgspec

from api.errors import EvokeError, InvalidInput, NotFound, Unavailable
from controller.errors import Conflict, NotHere
from replicas.asgi import Answer, BodyTooLarge, Lines, Reply, Request, Router

MAX_BODY = 32 << 20
_STATUS: Mapping[type[EvokeError], int] = {
    NotFound: 404,
    Conflict: 409,
    BodyTooLarge: 413,
    NotHere: 422,
    Unavailable: 503,
}
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Stream(msgspec.Struct, frozen=True):
    """Objects to send as NDJSON as they come."""

    items: AsyncIterator[Any]


Handler: TypeAlias = Callable[[Request], Awaitable[Any]]
"""Answers a JSON value, or a Stream of them."""


class BadBody(EvokeError):
    """The request is not what the API reference says."""


def router() -> Router:
    return Router(limit=MAX_BODY, refuse=_refuse, missing=_missing)


def route(to: Router, method: str, pattern: str, handler: Handler) -> None:
    """Serve *pattern* with *handler*."""

    async def answer(request: Request) -> Answer:
        found = await handler(request)
        if isinstance(found, Stream):
            return Lines(_lines(found))
        return Reply(200, _encode(found) + b"\n")

    to.route([method], pattern, answer)


def body(request: Request, type_: Any = dict[str, Any]) -> Any:
    """The JSON of a request, or {} when there is none; raises BadBody."""
    try:
        return msgspec.json.decode(request.body or b"{}", type=type_)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise BadBody(str(error), code="E111", hint="send JSON as the API reference has it") from error


async def _lines(stream: Stream) -> AsyncIterator[bytes]:
    async for item in stream.items:
        yield _encode(item)


async def _missing(request: Request) -> Answer:
    raise NotFound(f"{request.method} {request.path} is not part of this API", code="E199")


def _refuse(error: EvokeError) -> Reply:
    if isinstance(error, InvalidInput):
        return Reply(422, _encode({"problems": error.problems}) + b"\n")
    status = next((status for kind, status in _STATUS.items() if isinstance(error, kind)), 400)
    said = {"code": error.code, "message": error.message, "hint": error.hint}
    return Reply(status, _encode({"error": said}) + b"\n")
