"""Publish and bulk publish."""

from __future__ import annotations

from dapr.proto.runtime.v1 import pubsub_pb2 as messages
from google.protobuf.empty_pb2 import Empty

from proxy.dapr.runtime import Entry
from proxy.dapr_grpc.calls import Call


async def publish(call: Call, request: messages.PublishEventRequest) -> Empty:
    await call.runtime.publish(
        call.caller,
        request.pubsub_name,
        request.topic,
        request.data,
        request.data_content_type,
        dict(request.metadata),
    )
    return Empty()


async def publish_bulk(call: Call, request: messages.BulkPublishRequest) -> messages.BulkPublishResponse:
    """What failed stands in the answer, which is OK even where all did: an error would say nothing of the others."""
    entries = [
        Entry(one.entry_id, one.event, one.content_type, dict(one.metadata) if one.metadata else {})
        for one in request.entries
    ]
    failed = await call.runtime.publish_bulk(
        call.caller, request.pubsub_name, request.topic, entries, dict(request.metadata)
    )
    told = [messages.BulkPublishResponseFailedEntry(entry_id=name, error=error) for name, error in failed]
    return messages.BulkPublishResponse(failedEntries=told)
