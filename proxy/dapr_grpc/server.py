"""The server of the gRPC API: which method is served by what. The one module that starts a server of grpc."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import grpc
import grpc.aio
from dapr.proto.runtime.v1 import (
    binding_pb2,
    configuration_pb2,
    dapr_pb2,
    invoke_pb2,
    metadata_pb2,
    pubsub_pb2,
    secret_pb2,
    state_pb2,
)
from google.protobuf.message import Message

from proxy.dapr.errors import unimplemented
from proxy.dapr.runtime import Runtime
from proxy.dapr.streams import Streams
from proxy.dapr_grpc import about, components, invocation, pubsub, state, streaming
from proxy.dapr_grpc.calls import Call, Calls, Origin, Streaming, Unary

SERVICE = dapr_pb2.DESCRIPTOR.services_by_name["Dapr"]
OPTIONS = (
    ("grpc.max_connection_idle_ms", 180_000),  # a client that is idle for so long connects again when it has to
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_ping_strikes", 0),  # whoever asks too often costs little over a loopback
    ("grpc.max_concurrent_streams", 1_000),  # of one connection; what comes beyond waits at the client
    ("grpc.so_reuseport", 0),
)

UNARY: dict[str, tuple[type[Message], Unary]] = {
    "PublishEvent": (pubsub_pb2.PublishEventRequest, pubsub.publish),
    "BulkPublishEvent": (pubsub_pb2.BulkPublishRequest, pubsub.publish_bulk),
    "BulkPublishEventAlpha1": (pubsub_pb2.BulkPublishRequest, pubsub.publish_bulk),
    "InvokeBinding": (binding_pb2.InvokeBindingRequest, components.invoke_binding),
    "GetState": (state_pb2.GetStateRequest, state.get),
    "GetBulkState": (state_pb2.GetBulkStateRequest, state.get_bulk),
    "SaveState": (state_pb2.SaveStateRequest, state.save),
    "DeleteState": (state_pb2.DeleteStateRequest, state.delete),
    "DeleteBulkState": (state_pb2.DeleteBulkStateRequest, state.delete_bulk),
    "ExecuteStateTransaction": (state_pb2.ExecuteStateTransactionRequest, state.transact),
    "GetSecret": (secret_pb2.GetSecretRequest, components.secret),
    "GetBulkSecret": (secret_pb2.GetBulkSecretRequest, components.secrets),
    "GetConfiguration": (configuration_pb2.GetConfigurationRequest, components.configuration),
    "GetConfigurationAlpha1": (configuration_pb2.GetConfigurationRequest, components.configuration),
    "UnsubscribeConfiguration": (
        configuration_pb2.UnsubscribeConfigurationRequest,
        components.unsubscribe_configuration,
    ),
    "UnsubscribeConfigurationAlpha1": (
        configuration_pb2.UnsubscribeConfigurationRequest,
        components.unsubscribe_configuration,
    ),
    "InvokeService": (invoke_pb2.InvokeServiceRequest, invocation.invoke_service),
    "GetMetadata": (metadata_pb2.GetMetadataRequest, about.metadata),
    "SetMetadata": (metadata_pb2.SetMetadataRequest, about.set_metadata),
}
STREAMING: dict[str, tuple[type[Message], Streaming]] = {
    "SubscribeConfiguration": (configuration_pb2.SubscribeConfigurationRequest, components.subscribe_configuration),
    "SubscribeConfigurationAlpha1": (
        configuration_pb2.SubscribeConfigurationRequest,
        components.subscribe_configuration,
    ),
}


class Methods(grpc.GenericRpcHandler):
    """Every method that a client may name."""

    def __init__(self, runtime: Runtime, streams: Streams, origin: Origin) -> None:
        calls = self._calls = Calls(runtime, origin)
        known: dict[str, Any] = {name: calls.unary(name, *method) for name, method in UNARY.items()}
        known |= {name: calls.streaming(name, *method) for name, method in STREAMING.items()}
        stream = "SubscribeTopicEventsAlpha1"
        known[stream] = calls.both(stream, partial(streaming.subscribe, streams=streams))
        known["Shutdown"] = calls.unary("Shutdown", dapr_pb2.ShutdownRequest, _with(about.shutdown, streams))
        for method in SERVICE.methods:
            known.setdefault(method.name, calls.both(method.name, _refuse(method.name)))
        self._known = {f"/{SERVICE.full_name}/{name}": handler for name, handler in known.items()}

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """The handler of the method that *details* name."""
        found = self._known.get(details.method)
        if found is not None:
            return found
        if invocation.callee(details.invocation_metadata or ()):
            return self._calls.both("", partial(invocation.forward, method=details.method))
        return self._calls.both("", _refuse(f"{details.method} without the metadata {invocation.APP_ID}"))


async def serve(runtime: Runtime, streams: Streams, origin: Origin, limit: int, path: str) -> grpc.aio.Server:
    """Start a server at a Unix socket that takes messages of *limit* bytes."""
    options = (*OPTIONS, ("grpc.max_receive_message_length", limit))
    server = grpc.aio.server(handlers=(Methods(runtime, streams, origin),), options=options)
    server.add_insecure_port(f"unix:{path}")
    await server.start()
    return server


def _with(method: Callable[[Call, Streams], Awaitable[Message]], streams: Streams) -> Unary:
    async def bound(call: Call, _request: Any) -> Message:
        return await method(call, streams)

    return bound


def _refuse(what: str) -> Callable[[Call], Awaitable[None]]:
    async def refuse(_call: Call) -> None:
        raise unimplemented(what)

    return refuse
