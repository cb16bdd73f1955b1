"""One call of the API: who makes it, and how its answer or its error goes back."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import grpc
import grpc.aio
import msgspec
from google.protobuf.message import DecodeError, Message

from api.meta import Key
from proxy.dapr.api_rules import require
from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError, malformed, unauthenticated
from proxy.dapr.runtime import Runtime
from proxy.dapr_grpc import metadata as of_call
from proxy.dapr_grpc import status
from proxy.dapr_grpc.groups import group_of
from proxy.dapr_grpc.metadata import TOKEN, Context
from proxy.hops import echoed

log = logging.getLogger(__name__)

Origin: TypeAlias = Callable[[str], tuple[bool, Key | None]]
"""Peer of a connection -> whether it came in by an address of ours, and the app whose own that is."""


class Call(msgspec.Struct, frozen=True):
    """What a method gets beside its request."""

    runtime: Runtime
    caller: Caller
    context: Context


Unary: TypeAlias = Callable[[Call, Any], Awaitable[Message]]
Streaming: TypeAlias = Callable[[Call, Any], AsyncIterator[Message]]


class Calls:
    """Turns methods into handlers of grpc: requests come as bytes, so that nothing is read of who may not call."""

    def __init__(self, runtime: Runtime, origin: Origin) -> None:
        self._runtime, self._origin = runtime, origin

    def begin(self, context: Context, method: str = "") -> Call:
        """Who calls *method* of Dapr's own service (empty: another one); raises DaprError."""
        known, own = self._origin(context.peer() or "")
        told = of_call.of(context)
        tokens = of_call.values(told, TOKEN)
        if not known or len(tokens) > 1:
            raise unauthenticated()
        app = self._runtime.caller(tokens[0] if tokens else "", own)
        if method:
            name, version = group_of(method)
            require(app, "grpc", version, name)
        traceparent, tracestate = of_call.trace(told)
        hops = echoed(of_call.text(told, "evoke-hops").encode())
        return Call(self._runtime, Caller(app, traceparent, tracestate, hops), context)

    def unary(self, name: str, request: type[Message], method: Unary) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler for a method with one answer."""

        async def handle(data: bytes, context: Context) -> bytes:
            try:
                call = self.begin(context, name)
                with self._room(call, len(data)):
                    answer = await method(call, _read(request, data, call))
            except DaprError as error:
                await status.abort(context, error)
            return answer.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(handle)

    @contextmanager
    def _room(self, call: Call, size: int) -> Iterator[None]:
        """Hold this while a call with a message of *size* bytes is under way; raises DaprError where there is none."""
        app, held = call.caller.app, self._runtime.held()
        held.of(app.key)
        with self._runtime.admit(app):
            try:
                held.add(size)
                yield
            finally:
                held.release()

    def streaming(self, name: str, request: type[Message], method: Streaming) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler for a method with many answers."""

        async def handle(data: bytes, context: Context) -> None:
            try:
                call = self.begin(context, name)
                async for answer in method(call, _read(request, data, call)):
                    await context.write(answer.SerializeToString())
            except DaprError as error:
                await status.abort(context, error)

        return grpc.unary_stream_rpc_method_handler(handle)

    def both(self, name: str, method: Callable[[Call], Awaitable[None]]) -> grpc.RpcMethodHandler[Any, Any]:
        """A handler for a method that reads and writes the context's messages itself, as bytes; *name* is empty for one
        of another service than Dapr's."""

        async def handle(_requests: AsyncIterator[bytes], context: Context) -> None:
            try:
                await method(self.begin(context, name))
            except DaprError as error:
                await status.abort(context, error)

        return grpc.stream_stream_rpc_method_handler(handle)


def _read(request: type[Message], data: bytes, call: Call) -> Message:
    limit = call.caller.app.max_body
    if len(data) > limit:  # one server serves apps of several limits at a shared address
        message = f"Received message larger than max ({len(data)} vs. {limit})"
        raise DaprError(413, "RESOURCE_EXHAUSTED", "ERR_BODY_TOO_LARGE", message)
    try:
        return request.FromString(data)
    except DecodeError as error:
        raise malformed(f"the request is no {request.DESCRIPTOR.name}: {error}") from error
