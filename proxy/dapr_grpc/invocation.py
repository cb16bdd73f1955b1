"""Service invocation: InvokeService, and any other method of any service, told on to the app that metadata names."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast
from urllib.parse import quote

import grpc
import grpc.aio
from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import invoke_pb2 as messages
from google.protobuf.any_pb2 import Any as AnyMessage

from api.model import App
from proxy.dapr.caller import Caller, identity
from proxy.dapr.calls import unreachable
from proxy.dapr.errors import unimplemented
from proxy.dapr.invocation import TRIES
from proxy.dapr_grpc import metadata as of_call
from proxy.dapr_grpc import status
from proxy.dapr_grpc.calls import Call
from proxy.dapr_grpc.metadata import TOKEN, Metadata
from replicas.apps.grpc import Forwarded
from replicas.apps.grpc_messages import metadata_of
from replicas.errors import ConnectFailed

T = TypeVar("T")

ON_INVOKE = "/dapr.proto.runtime.v1.AppCallback/OnInvoke"
APP_ID, CALLEE = "dapr-app-id", "dapr-callee-app-id"
CALLER, CALLER_NAMESPACE = "dapr-caller-app-id", "dapr-caller-namespace"
HTTP_STATUS = "dapr-http-status"
OWN = (TOKEN, APP_ID, CALLEE, CALLER, CALLER_NAMESPACE)
"""Metadata that is not told on: only the platform says it."""
PERMANENT = frozenset({
    "accept", "accept-charset", "accept-language", "accept-ranges", "authorization", "cache-control", "content-type",
    "cookie", "date", "expect", "from", "host", "if-match", "if-modified-since", "if-none-match",
    "if-schedule-tag-match", "if-unmodified-since", "max-forwards", "origin", "pragma", "referer",
    "user-agent", "via", "warning",
})  # fmt: skip
"""Headers that Dapr prefixes with ``dapr-`` over gRPC."""
ALONE = 0.005
"""Seconds after a first message within which the end of a method with one message is there."""
LARGEST = 64 << 20
"""Bytes of an answer over HTTP; more is told on by the HTTP API alone, which streams it."""


async def invoke_service(call: Call, request: messages.InvokeServiceRequest) -> common.InvokeResponse:
    """A method of an app of either protocol."""
    app = call.runtime.target(call.caller, request.id)
    if app.protocol == "grpc":
        return await _on_invoke(call, app, request.message)
    return await _over_http(call, request)


async def _over_http(call: Call, request: messages.InvokeServiceRequest) -> common.InvokeResponse:
    """An HTTP status that is no success becomes the status of the call."""
    message = request.message
    verb = common.HTTPExtension.Verb.Name(message.http_extension.verb)
    headers = [
        (name.encode(), value.encode("latin-1", "replace"))
        for name, value in of_call.without(of_call.of(call.context), OWN)
        if isinstance(value, str)
    ]
    if message.content_type:
        headers.append((b"content-type", message.content_type.encode()))
    answer = await call.runtime.invoke(
        call.caller,
        request.id,
        quote(message.method, safe="/%:@!$&'()*+,;=~-._"),
        "POST" if verb == "NONE" else verb,
        headers,
        quote(message.http_extension.querystring, safe="%/?:@!$&'()*+,;=~-._"),
        message.data.value,
    )
    body = await answer.read(LARGEST)
    told = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    content_type = told.pop("content-type", "")
    sent = metadata_of({_prefixed(name): value for name, value in told.items() if name != "content-length"})
    await call.context.send_initial_metadata((*sent, (HTTP_STATUS, str(answer.status))))
    if not 200 <= answer.status < 300:
        await status.abort_http(call.context, answer.status, body)
    return common.InvokeResponse(data=AnyMessage(value=body), content_type=content_type)


async def _on_invoke(call: Call, app: App, message: common.InvokeRequest) -> common.InvokeResponse:
    """The request goes on as it came, so that a packed message stays one."""

    async def answer(out: Forwarded) -> common.InvokeResponse:
        await call.context.send_initial_metadata(_told(await out.initial_metadata()))
        data = await out.read()
        await _end(call, out)
        return common.InvokeResponse.FromString(cast("bytes", data))  # after _end() it is there

    return await _carry(call, app, ON_INVOKE, message.SerializeToString(), answer)


def callee(told: Metadata) -> str:
    """App id that a call of a foreign service is for; empty: it says none."""
    return of_call.text(told, CALLEE) or of_call.text(told, APP_ID)


async def forward(call: Call, method: str) -> None:
    """Tell *method* (``/pkg.Service/Method``) on to a gRPC app, messages as they are, in both directions."""
    app = call.runtime.target(call.caller, callee(of_call.of(call.context)))
    if app.protocol != "grpc":
        raise unimplemented(f"{method} of app id {app.id}, which serves HTTP: InvokeService reaches it, so")

    async def answer(out: Forwarded) -> None:
        await call.context.send_initial_metadata(_told(await out.initial_metadata()))
        async for message in out:
            await call.context.write(message)
        await _end(call, out)

    async with _requests(call) as requests:
        await _carry(call, app, method, requests, answer)


async def _carry(
    call: Call,
    app: App,
    method: str,
    requests: AsyncIterator[bytes] | bytes,
    answer: Callable[[Forwarded], Awaitable[T]],
) -> T:
    """Call *method* of a replica of *app*, waking it as needed; another one only while nothing was sent."""
    metadata = [*of_call.without(of_call.of(call.context), OWN), *_ours(call.caller, app)]
    refused = ""
    for tried in range(TRIES):
        async with call.runtime.calls.reach(app, first=not tried) as reached:
            client = call.runtime.grpc_app(app, reached.lease.endpoint.address)
            try:
                async with client.forward(method, requests, metadata, call.context.time_remaining()) as out:
                    return await answer(out)
            except ConnectFailed as error:
                refused = str(error)
                call.runtime.calls.strike(reached)
            except grpc.aio.AioRpcError as error:
                reached.failed = error.code() in {grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL}
                await call.context.abort(error.code(), error.details() or "", _told(error.trailing_metadata()))
    raise unreachable(app.id, refused, status=503)


async def _end(call: Call, out: Forwarded) -> None:
    """Tell the app's status on, unless it is OK."""
    trailing = _told(await out.trailing_metadata())
    if (code := await out.code()) is not grpc.StatusCode.OK:
        await call.context.abort(code, await out.details() or "", trailing)
    call.context.set_trailing_metadata(trailing)


@asynccontextmanager
async def _requests(call: Call) -> AsyncIterator[AsyncIterator[bytes] | bytes]:
    """The caller's messages: alone, the one of a method that takes no more, else as they come."""
    first = await call.context.read()
    if first is grpc.aio.EOF:
        yield _none()
        return
    second = asyncio.ensure_future(call.context.read())
    try:
        await asyncio.wait({second}, timeout=ALONE)
        if second.done() and second.result() is grpc.aio.EOF:
            yield first
        else:
            yield _each(call, first, second)
    finally:
        second.cancel()


async def _each(call: Call, first: bytes, second: asyncio.Future[Any]) -> AsyncIterator[bytes]:
    yield first
    data = await second
    while data is not grpc.aio.EOF:
        yield data
        data = await call.context.read()


async def _none() -> AsyncIterator[bytes]:
    for data in tuple[bytes, ...]():
        yield data


def _ours(caller: Caller, app: App) -> list[tuple[str, str]]:
    return [(CALLER, identity(caller.app)), (CALLER_NAMESPACE, caller.namespace), (CALLEE, app.id)]


def _told(metadata: Iterable[Any] | None) -> tuple[tuple[str, str | bytes], ...]:
    """What an app said beside its answer, without what belongs to its connection."""
    pairs = ((str(name), value) for name, value in metadata or ())
    return tuple((name, value) for name, value in pairs if name == status.DETAILS or not name.startswith("grpc-"))


def _prefixed(header: str) -> str:
    """HTTP's own headers do not pass for the caller's."""
    return f"dapr-{header}" if header in PERMANENT else header
