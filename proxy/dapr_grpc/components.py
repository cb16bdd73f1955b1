"""Output bindings, secrets and configuration."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping

from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import binding_pb2, configuration_pb2, secret_pb2

from proxy.components.protocols import Value
from proxy.dapr.errors import DaprError
from proxy.dapr_grpc.calls import Call
from replicas.apps.grpc_messages import metadata_of


async def invoke_binding(call: Call, request: binding_pb2.InvokeBindingRequest) -> binding_pb2.InvokeBindingResponse:
    """The answer's metadata stands in the message, and in that of the call as ``metadata.<name>``."""
    data, metadata = await call.runtime.invoke_binding(
        call.caller, request.name, request.operation, request.data, dict(request.metadata)
    )
    headers = metadata_of({f"metadata.{name}": value for name, value in metadata.items()})
    await call.context.send_initial_metadata(tuple(headers))
    return binding_pb2.InvokeBindingResponse(data=data, metadata=metadata)


async def secret(call: Call, request: secret_pb2.GetSecretRequest) -> secret_pb2.GetSecretResponse:
    """A secret that is not there is an error, unlike over HTTP: no answer of this message could say so."""
    store, key = request.store_name, request.key
    found = await call.runtime.secret(call.caller, store, key, dict(request.metadata))
    if not found:
        message = f"failed getting secret with key {key} from secret store {store}: secret {key} not found"
        raise DaprError(500, "INTERNAL", "ERR_SECRET_GET", message)
    return secret_pb2.GetSecretResponse(data=found)


async def secrets(call: Call, request: secret_pb2.GetBulkSecretRequest) -> secret_pb2.GetBulkSecretResponse:
    found = await call.runtime.secrets(call.caller, request.store_name, dict(request.metadata))
    told = {name: secret_pb2.SecretResponse(secrets=pairs) for name, pairs in found.items()}
    return secret_pb2.GetBulkSecretResponse(data=told)


async def configuration(
    call: Call, request: configuration_pb2.GetConfigurationRequest
) -> configuration_pb2.GetConfigurationResponse:
    found = await call.runtime.configuration(
        call.caller, request.store_name, list(request.keys), dict(request.metadata)
    )
    return configuration_pb2.GetConfigurationResponse(items=_items(found))


async def subscribe_configuration(
    call: Call, request: configuration_pb2.SubscribeConfigurationRequest
) -> AsyncIterator[configuration_pb2.SubscribeConfigurationResponse]:
    """The id alone at first, then what changes; ends when the client goes or gives the id back."""
    store = request.store_name
    watch = call.runtime.subscribe_configuration(call.caller, store, list(request.keys), dict(request.metadata))
    try:
        await watch.begun()
        yield configuration_pb2.SubscribeConfigurationResponse(id=watch.id)
        async for changed in watch:
            yield configuration_pb2.SubscribeConfigurationResponse(id=watch.id, items=_items(changed))
    finally:
        with contextlib.suppress(DaprError):  # it was given back before
            await call.runtime.unsubscribe_configuration(call.caller, store, watch.id)


async def unsubscribe_configuration(
    call: Call, request: configuration_pb2.UnsubscribeConfigurationRequest
) -> configuration_pb2.UnsubscribeConfigurationResponse:
    """What is wrong stands in the answer, as its message has a place for it."""
    try:
        await call.runtime.unsubscribe_configuration(call.caller, request.store_name, request.id)
    except DaprError as error:
        return configuration_pb2.UnsubscribeConfigurationResponse(ok=False, message=error.message)
    return configuration_pb2.UnsubscribeConfigurationResponse(ok=True)


def _items(found: Mapping[str, Value]) -> dict[str, common.ConfigurationItem]:
    return {
        key: common.ConfigurationItem(value=one.value, version=one.version, metadata=one.metadata)
        for key, one in found.items()
    }
