"""Events in Dapr's gRPC messages as the bodies that daprd posts to an HTTP app; pure.

daprd leaves ``data`` empty where it does not know the content type; a ``data_base64`` among the extensions is used.
"""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from dapr.proto.runtime.v1 import appcallback_pb2 as messages
from google.protobuf import json_format

from functions_framework.codec import STRUCTURED, is_json, media_type
from functions_framework.delivery import BULK_TYPE

_encoder = msgspec.json.Encoder()


def event_body(request: messages.TopicEventRequest) -> bytes:
    """Structured CloudEvent; what the publisher said wins over where it was delivered (a dead letter's topic)."""
    delivered = {"topic": request.topic, "pubsubname": request.pubsub_name}
    return _encoder.encode(delivered | _members(request))


def bulk_body(request: messages.TopicEventBulkRequest) -> bytes:
    """Dapr's bulk message; the entries stand first, by which a handler tells it from other JSON."""
    return _encoder.encode(
        {
            "entries": [_entry(one) for one in request.entries],
            "id": request.id,
            "metadata": dict(request.metadata),
            "pubsubname": request.pubsub_name,
            "topic": request.topic,
            "type": request.type or BULK_TYPE,
        }
    )


def _entry(entry: messages.TopicEventBulkRequestEntry) -> dict[str, Any]:
    shared = {"entryId": entry.entry_id, "metadata": dict(entry.metadata)}
    if entry.WhichOneof("event") == "cloud_event":
        return {**shared, "contentType": STRUCTURED, "event": _members(entry.cloud_event)}
    kind = entry.content_type or "application/octet-stream"
    field, value = _data(entry.bytes, kind)
    return {**shared, "contentType": kind, "event": value if field else None}


def _members(event: messages.TopicEventRequest | messages.TopicEventCERequest) -> dict[str, Any]:
    """Members of the structured form."""
    given: dict[str, Any] = json_format.MessageToDict(event.extensions)
    # a Struct knows floats only, CloudEvents integers only
    members = {n: int(v) if isinstance(v, float) and v.is_integer() else v for n, v in given.items()}
    core = {
        "id": event.id,
        "source": event.source,
        "type": event.type,
        "specversion": event.spec_version,
        "datacontenttype": event.data_content_type,
    }
    members |= {name: value for name, value in core.items() if value}
    field, value = _data(event.data, event.data_content_type)
    return members | {field: value} if field else members


def _data(data: bytes, kind: str) -> tuple[str, Any]:
    """Member that holds *data*, and its value; JSON keeps its bytes, numbers of any precision among them."""
    if not data:
        return "", None
    media = media_type(kind)
    if is_json(media):
        try:
            msgspec.json.decode(data)
            return "data", msgspec.Raw(data)
        except msgspec.DecodeError:
            pass
    elif media.startswith("text/") or media == "application/xml":
        try:
            return "data", data.decode()
        except UnicodeDecodeError:
            pass
    return "data_base64", base64.b64encode(data).decode()
