"""Google's older event format, ``def f(data, context)``, and the way between it and CloudEvents.

Shapes: https://cloud.google.com/functions/docs/writing/background (event) and the CloudEvents that Eventarc sends.
"""

from __future__ import annotations

import json
from typing import Any

from functions_framework.event import CloudEvent
from functions_framework.exceptions import EventConversionException

# (old type, new type, service, prefix of the subject)
_TYPES = (
    ("google.pubsub.topic.publish", "google.cloud.pubsub.topic.v1.messagePublished", "pubsub.googleapis.com"),
    (
        "providers/cloud.pubsub/eventTypes/topic.publish",
        "google.cloud.pubsub.topic.v1.messagePublished",
        "pubsub.googleapis.com",
    ),
    ("google.storage.object.finalize", "google.cloud.storage.object.v1.finalized", "storage.googleapis.com"),
    ("google.storage.object.delete", "google.cloud.storage.object.v1.deleted", "storage.googleapis.com"),
    ("google.storage.object.archive", "google.cloud.storage.object.v1.archived", "storage.googleapis.com"),
    (
        "google.storage.object.metadataUpdate",
        "google.cloud.storage.object.v1.metadataUpdated",
        "storage.googleapis.com",
    ),
    (
        "providers/cloud.firestore/eventTypes/document.write",
        "google.cloud.firestore.document.v1.written",
        "firestore.googleapis.com",
    ),
    (
        "providers/cloud.firestore/eventTypes/document.create",
        "google.cloud.firestore.document.v1.created",
        "firestore.googleapis.com",
    ),
    (
        "providers/cloud.firestore/eventTypes/document.update",
        "google.cloud.firestore.document.v1.updated",
        "firestore.googleapis.com",
    ),
    (
        "providers/cloud.firestore/eventTypes/document.delete",
        "google.cloud.firestore.document.v1.deleted",
        "firestore.googleapis.com",
    ),
)
_OLD = {new: old for old, new, _ in reversed(_TYPES)}


class LegacyContext:
    """Second argument of ``def f(data, context)``."""

    def __init__(self, event_id: str = "", timestamp: str = "", event_type: str = "", resource: Any = None) -> None:
        self.event_id = event_id
        self.timestamp = timestamp
        self.event_type = event_type
        self.resource = resource

    @classmethod
    def of(cls, event: CloudEvent) -> LegacyContext:
        """Context of an event, under the names that Google's older types had."""
        kind = str(event["type"])
        resource = str(event["source"])
        if resource.startswith("//"):
            service, _, name = resource[2:].partition("/")
            resource_value: Any = {"service": service, "name": name + (f"/{event.subject}" if event.subject else "")}
        else:
            resource_value = resource
        return cls(str(event["id"]), str(event.time or ""), _OLD.get(kind, kind), resource_value)


def from_legacy(body: bytes) -> CloudEvent:
    """CloudEvent for a request in the older format.

    Raises:
        EventConversionException: it is not in that format.
    """
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        raise EventConversionException("body is not JSON") from None
    if not isinstance(members, dict) or "data" not in members:
        raise EventConversionException("JSON has no data")
    context = members.get("context") or {
        name: members.get(name) for name in ("eventId", "timestamp", "eventType", "resource")
    }
    if not isinstance(context, dict) or not context.get("eventType"):
        raise EventConversionException("JSON has no context with an eventType")
    old = str(context["eventType"])
    new, service = next(((n, s) for o, n, s in _TYPES if o == old), (old, ""))
    resource = context.get("resource")
    name = str(resource.get("name", "")) if isinstance(resource, dict) else str(resource or "")
    service = str(resource.get("service", service)) if isinstance(resource, dict) else service
    attributes = {
        "specversion": "1.0",
        "id": str(context.get("eventId") or ""),
        "type": new,
        "source": f"//{service}/{name}" if service else name or "/",
        "time": context.get("timestamp"),
        "datacontenttype": "application/json",
    }
    data = members["data"]
    if service == "storage.googleapis.com" and "/objects/" in name:
        bucket, _, rest = name.partition("/objects/")
        attributes |= {"source": f"//{service}/{bucket}", "subject": "objects/" + rest.partition("#")[0]}
    if service == "pubsub.googleapis.com" and isinstance(data, dict) and "message" not in data:
        extra = {"messageId": attributes["id"], "publishTime": attributes["time"]}
        data = {"message": {**data, **{k: v for k, v in extra.items() if v}}}
    return CloudEvent.from_dict({**attributes, "data": data})
