"""Asynchronous invocations: a request becomes an event on the namespace's bus; 202 means that it is stored there."""

from __future__ import annotations

import hashlib
import time

import msgspec

from api.meta import Key
from eventbus.errors import BusError
from functions_framework.asynchronous import event_of
from gateway.connection import Request
from gateway.errors import Rejected
from gateway.headers import from_client, identity
from gateway.limits import Limits
from gateway.outbox import Outbox, rejection
from gateway.reply import Reply
from gateway.routes import Found

SOURCE = "/async-function/{namespace}/{name}"
"""Calls of two functions are two events, whatever ids their clients chose."""
BUS = "default"


def subject(function: Key) -> str:
    """Where invocations of *function* are published."""
    return f"evoke.async.{function.namespace}.{function.name}"


class Invocations:
    """Takes asynchronous invocations."""

    def __init__(self, outbox: Outbox, limits: Limits) -> None:
        self._outbox, self._limits = outbox, limits

    async def accept(self, request: Request, reply: Reply, found: Found, request_id: bytes) -> None:
        """Answer 202 with ``X-Call-Id`` once the bus has stored the call; raises Rejected when it did not."""
        if not found.route.queued:
            raise Rejected(
                501,
                "E140",
                "a Dapr app takes no asynchronous calls",
                hint="publish to a topic that it subscribes to",
            )
        if request.head.header(b"x-callback-url") is not None:
            raise Rejected(
                400, "E140", "X-Callback-Url is not supported yet", hint="let the function publish its result"
            )
        call = identity(request.head.header(b"x-call-id"))
        body = await read(request, self._limits.queued_body)
        function = found.route.key
        source = SOURCE.format(namespace=function.namespace, name=function.name)
        payload = _event(source, call.decode(), request, found, request_id, body)
        bus = Key(function.namespace, BUS)
        try:
            await self._outbox.store(bus, subject(function), payload, dedupe=_dedupe(source, call))
        except BusError as error:
            raise rejection(error) from error
        reply.send(202, [(b"x-call-id", call), (b"x-start-time", b"%d" % time.time_ns())], b"")


async def read(request: Request, limit: int) -> bytes:
    """The whole body; raises Rejected 413 above *limit* bytes."""
    parts: list[bytes] = []
    size = 0
    while request.body is not None and (data := await request.body.chunk()):
        size += len(data)
        if size > limit:
            raise Rejected(413, "E145", f"what is stored on a bus has at most {limit} bytes")
        parts.append(data)
    return b"".join(parts)


def _event(source: str, call: str, request: Request, found: Found, request_id: bytes, body: bytes) -> bytes:
    headers, _ = from_client(request.head.headers)
    kept = [(name, value) for name, value in headers if name not in {b"host", b"content-length"}]
    event = event_of(
        call=call,
        source=source,
        method=request.head.method,
        target=found.path + request.head.query.decode("ascii"),
        headers=[*kept, (b"x-call-id", call.encode()), (b"x-request-id", request_id)],
        body=body,
    )
    return msgspec.json.encode(event.to_dict())


def _dedupe(source: str, call: bytes) -> str:
    return hashlib.sha1(source.encode() + b"\0" + call, usedforsecurity=False).hexdigest()
