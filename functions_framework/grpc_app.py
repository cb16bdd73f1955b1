"""An App behind Dapr's AppCallback service, for a daprd whose app protocol is grpc.

Each call becomes the request that daprd makes of an HTTP app, so that a handler sees the same event either way.
Imported only where the protocol is grpc: it needs the packages ``grpcio`` and ``dapr`` (for its messages).
"""

from __future__ import annotations

import asyncio
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeAlias

import grpc
import msgspec
from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import appcallback_pb2 as messages
from dapr.proto.runtime.v1 import appcallback_pb2_grpc as services
from google.protobuf import any_pb2, empty_pb2

from functions_framework.app import App
from functions_framework.codec import STRUCTURED
from functions_framework.declared import bindings, subscriptions
from functions_framework.grpc_events import bulk_body, event_body
from functions_framework.message import Reply, Request
from functions_framework.server import GRACE, MAX_BODY

if TYPE_CHECKING:
    Call: TypeAlias = grpc.aio.ServicerContext[Any, Any]

_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    415: grpc.StatusCode.INVALID_ARGUMENT,
    503: grpc.StatusCode.UNAVAILABLE,
}
_STATUSES = {
    "": messages.TopicEventResponse.SUCCESS,
    "SUCCESS": messages.TopicEventResponse.SUCCESS,
    "DROP": messages.TopicEventResponse.DROP,
}
_NONE = empty_pb2.Empty()


class _Told(msgspec.Struct, frozen=True):
    """Body of the reply to one event, or one status of a bulk reply."""

    status: str = ""
    entry_id: str = msgspec.field(default="", name="entryId")


class _Statuses(msgspec.Struct, frozen=True):
    statuses: list[_Told] = []


class Callbacks(
    services.AppCallbackServicer, services.AppCallbackHealthCheckServicer, services.AppCallbackAlphaServicer
):
    """AppCallback, its health check, and the older name of bulk deliveries."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def ListTopicSubscriptions(  # noqa: N802 - the service's name
        self, _request: empty_pb2.Empty, _context: Call
    ) -> messages.ListTopicSubscriptionsResponse:
        """What FUNC_CONTEXT declares."""
        return messages.ListTopicSubscriptionsResponse(
            subscriptions=[
                messages.TopicSubscription(
                    pubsub_name=one["pubsubname"],
                    topic=one["topic"],
                    routes=messages.TopicRoutes(default=one["route"]),
                    bulk_subscribe=messages.BulkSubscribeConfig(
                        enabled=True, max_messages_count=one["bulkSubscribe"]["maxMessagesCount"]
                    ),
                )
                for one in subscriptions(self._app.context)
            ]
        )

    async def OnTopicEvent(  # noqa: N802 - the service's name
        self, request: messages.TopicEventRequest, context: Call
    ) -> messages.TopicEventResponse:
        """One event."""
        reply = await self._post(context, request.path, event_body(request), STRUCTURED)
        told = msgspec.json.decode(reply, type=_Told) if reply[:1] == b"{" else _Told()
        return messages.TopicEventResponse(status=_STATUSES.get(told.status, messages.TopicEventResponse.RETRY))

    async def OnBulkTopicEvent(  # noqa: N802 - the service's name
        self, request: messages.TopicEventBulkRequest, context: Call
    ) -> messages.TopicEventBulkResponse:
        """Many events; one that is left out of the answer comes again."""
        reply = await self._post(context, request.path, bulk_body(request), "application/json")
        return messages.TopicEventBulkResponse(
            statuses=[
                messages.TopicEventBulkResponseEntry(
                    entry_id=one.entry_id, status=_STATUSES.get(one.status, messages.TopicEventResponse.RETRY)
                )
                for one in msgspec.json.decode(reply, type=_Statuses).statuses
            ]
        )

    async def OnBulkTopicEventAlpha1(  # noqa: N802 - the service's name
        self, request: messages.TopicEventBulkRequest, context: Call
    ) -> messages.TopicEventBulkResponse:
        """The older name."""
        return await self.OnBulkTopicEvent(request, context)

    async def ListInputBindings(  # noqa: N802 - the service's name
        self, _request: empty_pb2.Empty, _context: Call
    ) -> messages.ListInputBindingsResponse:
        """What FUNC_CONTEXT declares."""
        return messages.ListInputBindingsResponse(bindings=bindings(self._app.context))

    async def OnBindingEvent(  # noqa: N802 - the service's name
        self, request: messages.BindingEventRequest, context: Call
    ) -> messages.BindingEventResponse:
        """What an input binding brought; any error of the handler brings it again."""
        own = [(name.lower().encode(), value.encode()) for name, value in request.metadata.items()]
        await self._post(context, request.name, request.data, "application/json", own)
        return messages.BindingEventResponse()

    async def OnInvoke(self, request: common.InvokeRequest, context: Call) -> common.InvokeResponse:  # noqa: N802 - the service's name
        """A request of another app."""
        verb = common.HTTPExtension.Verb.Name(request.http_extension.verb)
        method, _, query = request.method.partition("?")
        headers = _headers(context)
        if request.content_type:
            headers.append((b"content-type", request.content_type.encode()))
        reply = await self._app.handle(
            Request(
                "POST" if verb == "NONE" else verb,
                "/" + method.lstrip("/"),
                headers,
                request.data.value,
                query=(request.http_extension.querystring or query).encode(),
            )
        )
        body = await _whole(reply)
        if reply.status >= 400:
            await context.abort(_code(reply.status), f"{reply.status} {body[:200].decode('utf-8', 'replace')}")
        kind = next((value.decode("latin-1") for name, value in reply.headers if name.lower() == b"content-type"), "")
        return common.InvokeResponse(data=any_pb2.Any(value=body), content_type=kind)

    async def HealthCheck(self, _request: empty_pb2.Empty, context: Call) -> messages.HealthCheckResponse:  # noqa: N802 - the service's name
        """Healthy until it drains."""
        if self._app.draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "draining")
        return messages.HealthCheckResponse()

    async def _post(
        self, context: Call, path: str, body: bytes, kind: str, own: list[tuple[bytes, bytes]] | None = None
    ) -> bytes:
        """Body of the handler's answer; a failed call for an answer that is none."""
        headers = [*_headers(context), *(own or ()), (b"content-type", kind.encode())]
        reply = await self._app.handle(Request("POST", "/" + path.lstrip("/"), headers, body))
        answer = await _whole(reply)
        if reply.status >= 300:
            await context.abort(_code(reply.status), answer[:200].decode("utf-8", "replace"))
        return answer


def _headers(context: Call) -> list[tuple[bytes, bytes]]:
    """Metadata of the call, which is what an HTTP app gets as headers."""
    return [
        (str(name).lower().encode("latin-1"), value if isinstance(value, bytes) else value.encode("latin-1", "replace"))
        for name, value in context.invocation_metadata() or ()
        if str(name).lower() not in {"content-type", "user-agent"} and not str(name).startswith("evoke-")
    ]


def _code(status: int) -> grpc.StatusCode:
    return _CODES.get(status, grpc.StatusCode.INTERNAL)


async def _whole(reply: Reply) -> bytes:
    if isinstance(reply.body, bytes):
        return reply.body
    return b"".join([chunk async for chunk in reply.body])


def run(app: App, host: str, port: int, *, on_ready: Callable[[int], None] = lambda _port: None) -> int:
    """Serve *app* until told to stop, then drain; *on_ready* gets the port. Returns the exit status.

    Raises:
        OSError: the address is taken.
    """
    serving = _serve(app, host, port, on_ready)
    try:
        import uvloop
    except ImportError:  # absent from an environment that could not build it
        return asyncio.run(serving)
    return uvloop.run(serving)


async def _serve(app: App, host: str, port: int, on_ready: Callable[[int], None]) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    server, bound = await start(app, host, port)
    on_ready(bound)
    await stop.wait()
    return await drain(app, server)


async def start(app: App, host: str, port: int) -> tuple[grpc.aio.Server, int]:
    """A serving server and its port; port 0: a free one."""
    free = _free(host, port)
    # without so_reuseport=0 a second server on the same port would silently share it
    size = [(f"grpc.max_{way}_message_length", MAX_BODY) for way in ("receive", "send")]
    server = grpc.aio.server(options=[("grpc.so_reuseport", 0), *size])
    callbacks: Any = Callbacks(app)
    services.add_AppCallbackServicer_to_server(callbacks, server)
    services.add_AppCallbackHealthCheckServicer_to_server(callbacks, server)
    services.add_AppCallbackAlphaServicer_to_server(callbacks, server)
    bound = server.add_insecure_port(f"[{host}]:{free}" if ":" in host else f"{host}:{free}")
    app.start()
    await server.start()
    return server, bound


def _free(host: str, port: int) -> int:
    """Claim *port* for a moment, for grpc says why it cannot listen only in its log.

    Raises:
        OSError: it is taken.
    """
    with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        return int(probe.getsockname()[1])


async def drain(app: App, server: grpc.aio.Server, grace: timedelta = GRACE) -> int:
    """Refuse what is new, finish what runs; 0 if that succeeded within *grace*."""
    app.draining = True
    await server.stop(grace.total_seconds())
    status = 1 if app.in_flight else 0
    await app.stop()
    return status
