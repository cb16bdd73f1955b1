"""The state API."""

from __future__ import annotations

from dapr.proto.common.v1 import common_pb2 as common
from dapr.proto.runtime.v1 import state_pb2 as messages
from google.protobuf.empty_pb2 import Empty

from proxy.components.protocols import Concurrency, Consistency, Remove, Write
from proxy.dapr.errors import DaprError
from proxy.dapr_grpc.calls import Call

_CONCURRENCY: dict[int, Concurrency] = {1: "first-write", 2: "last-write"}
_CONSISTENCY: dict[int, Consistency] = {1: "eventual", 2: "strong"}


async def get(call: Call, request: messages.GetStateRequest) -> messages.GetStateResponse:
    """An empty answer: the key is not there."""
    item = await call.runtime.state.get(call.caller, request.store_name, request.key, dict(request.metadata))
    if item is None:
        return messages.GetStateResponse()
    return messages.GetStateResponse(data=item.value, etag=item.etag, metadata=item.metadata)


async def get_bulk(call: Call, request: messages.GetBulkStateRequest) -> messages.GetBulkStateResponse:
    """One item per key, in order; one that is not there has no data and no ETag."""
    found = await call.runtime.state.get_bulk(
        call.caller, request.store_name, list(request.keys), dict(request.metadata), request.parallelism
    )
    items = []
    for one in found:
        told = messages.BulkStateItem(key=one.key, error=one.error)
        if one.item is not None:
            told.data, told.etag = one.item.value, one.item.etag
            told.metadata.update(one.item.metadata)
        items.append(told)
    return messages.GetBulkStateResponse(items=items)


async def save(call: Call, request: messages.SaveStateRequest) -> Empty:
    await call.runtime.state.save(call.caller, request.store_name, [_write(item) for item in request.states])
    return Empty()


async def delete(call: Call, request: messages.DeleteStateRequest) -> Empty:
    remove = Remove(
        key=request.key,
        etag=request.etag.value if request.HasField("etag") else None,
        concurrency=_CONCURRENCY.get(request.options.concurrency, ""),
        consistency=_CONSISTENCY.get(request.options.consistency, ""),
        metadata=dict(request.metadata),
    )
    await call.runtime.state.delete(call.caller, request.store_name, remove)
    return Empty()


async def delete_bulk(call: Call, request: messages.DeleteBulkStateRequest) -> Empty:
    await call.runtime.state.delete_bulk(call.caller, request.store_name, [_remove(item) for item in request.states])
    return Empty()


async def transact(call: Call, request: messages.ExecuteStateTransactionRequest) -> Empty:
    operations: list[Write | Remove] = []
    for one in request.operations:
        if one.operationType not in {"upsert", "delete"}:
            message = f"operation type {one.operationType[:40]} not supported: upsert and delete are"
            reason = "DAPR_STATE_ILLEGAL_OPERATION"
            raise DaprError(
                400, "UNIMPLEMENTED", "ERR_NOT_SUPPORTED_STATE_OPERATION", message, reason, request.storeName, "state"
            )
        operations.append(_write(one.request) if one.operationType == "upsert" else _remove(one.request))
    await call.runtime.state.transact(call.caller, request.storeName, operations, dict(request.metadata))
    return Empty()


def _write(item: common.StateItem) -> Write:
    return Write(
        key=item.key,
        value=item.value,
        etag=item.etag.value if item.HasField("etag") else None,
        concurrency=_CONCURRENCY.get(item.options.concurrency, ""),
        consistency=_CONSISTENCY.get(item.options.consistency, ""),
        metadata=dict(item.metadata),
    )


def _remove(item: common.StateItem) -> Remove:
    return Remove(
        key=item.key,
        etag=item.etag.value if item.HasField("etag") else None,
        concurrency=_CONCURRENCY.get(item.options.concurrency, ""),
        consistency=_CONSISTENCY.get(item.options.consistency, ""),
        metadata=dict(item.metadata),
    )
