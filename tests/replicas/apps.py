"""Small Dapr apps of both protocols in the test process: they record what they are sent, and answer as told."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Self

import grpc
import grpc.aio
from dapr.proto.runtime.v1 import appcallback_pb2 as messages
from dapr.proto.runtime.v1 import appcallback_pb2_grpc as service
from google.protobuf.empty_pb2 import Empty

Request = dict[str, Any]
"""Of HTTP: method, path, headers, body (bytes)."""
Answer = tuple[int, dict[str, str], bytes] | None
"""Status, headers, body; None: close without a reply."""
Handler = Callable[[Request], Awaitable[Answer]]


async def ok(_request: Request) -> Answer:
    return 200, {}, b""


class HttpServer:
    """HTTP/1.1 on a loopback port that stays the same over stop() and start()."""

    def __init__(self, handler: Handler = ok) -> None:
        self.handler = handler
        self.fixed: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self.running = self.most = 0
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def events(self) -> list[Any]:
        """Bodies of the POSTs as JSON."""
        return [json.loads(one["body"]) for one in self.requests if one["method"] == "POST"]

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_error: object) -> None:
        """As kill -9: connections end, and the address refuses."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
                while await self._exchange(reader, writer):
                    pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        method, path, _ = head[0].split(" ")
        headers = dict(line.split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        request = {"method": method, "path": path, "headers": headers, "body": body}
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            fixed = self.fixed.get(f"{method} {path}")
            answer = fixed or await self.handler(request)
        finally:
            self.running -= 1
        if answer is None:
            return False
        status, extra, said = answer
        lines = "".join(f"{name}: {value}\r\n" for name, value in extra.items())
        writer.write(f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(said)}\r\n\r\n".encode() + said)
        await writer.drain()
        return True


class Callbacks(service.AppCallbackServicer, service.AppCallbackHealthCheckServicer):  # type: ignore[misc] # generated
    """AppCallback that answers what the test says; a coroutine of one's own takes the request and the context."""

    def __init__(self) -> None:
        self.topic: Callable[[Any, Any], Awaitable[Any]] = _success
        self.bulk: Callable[[Any, Any], Awaitable[Any]] = _unimplemented
        self.binding: Callable[[Any, Any], Awaitable[Any]] = _unimplemented
        self.listed = messages.ListTopicSubscriptionsResponse()
        self.bindings: list[str] = []
        self.requests: list[Any] = []
        self.metadata: list[dict[str, str]] = []
        self.running = self.most = 0

    async def ListTopicSubscriptions(self, request: Any, context: Any) -> Any:
        return self.listed

    async def ListInputBindings(self, request: Any, context: Any) -> Any:
        return messages.ListInputBindingsResponse(bindings=self.bindings)

    async def OnTopicEvent(self, request: Any, context: Any) -> Any:
        return await self._take(self.topic, request, context)

    async def OnBulkTopicEvent(self, request: Any, context: Any) -> Any:
        return await self._take(self.bulk, request, context)

    async def OnBindingEvent(self, request: Any, context: Any) -> Any:
        return await self._take(self.binding, request, context)

    async def HealthCheck(self, request: Any, context: Any) -> Any:
        return messages.HealthCheckResponse()

    async def _take(self, handler: Callable[[Any, Any], Awaitable[Any]], request: Any, context: Any) -> Any:
        self.requests.append(request)
        self.metadata.append({key: value for key, value in context.invocation_metadata() if isinstance(value, str)})
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            return await handler(request, context)
        finally:
            self.running -= 1


class GrpcServer:
    """AppCallback on a loopback port that stays the same over stop() and start()."""

    def __init__(self, callbacks: Callbacks | None = None, *, health: bool = True, alpha: Any = None) -> None:
        self.callbacks = callbacks or Callbacks()
        self.port = 0
        self._health, self._alpha = health, alpha
        self._server: grpc.aio.Server | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        service.add_AppCallbackServicer_to_server(self.callbacks, self._server)
        if self._health:
            service.add_AppCallbackHealthCheckServicer_to_server(self.callbacks, self._server)
        if self._alpha is not None:
            service.add_AppCallbackAlphaServicer_to_server(self._alpha, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._server is not None:
            await self._server.stop(None)
            self._server = None


async def _success(_request: Any, _context: Any) -> Any:
    return messages.TopicEventResponse()


async def _unimplemented(_request: Any, context: Any) -> Any:
    await context.abort(grpc.StatusCode.UNIMPLEMENTED, "the app has no such method")


__all__ = ["Callbacks", "Empty", "GrpcServer", "HttpServer", "messages", "service"]
