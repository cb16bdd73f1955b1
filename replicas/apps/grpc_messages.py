"""Structured CloudEvents as the messages of Dapr's AppCallback service; pure.

Source: dapr/pkg/runtime/pubsub (the mapping of members) and the CloudEvents JSON format. Unlike Dapr's runtime, text of
any content type reaches the app, and data_base64 does in a bulk message too.
"""

from __future__ import annotations

import re
from base64 import b64decode
from binascii import Error as BadBase64
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import msgspec
from dapr.proto.runtime.v1 import appcallback_pb2 as messages
from google.protobuf.struct_pb2 import Struct

from api.errors import EvokeError
from api.model import AppSubscription, Rule
from replicas.apps.client import Item, Place
from replicas.apps.declarations import bulk_of, checked

BULK_TYPE = "com.dapr.event.sent.bulk"
STRUCTURED = "application/cloudevents+json"
BYTES = "application/octet-stream"

_CORE = frozenset({"id", "source", "type", "specversion", "datacontenttype", "data", "data_base64"})
_KEY = re.compile(r"[0-9a-z_.-]{1,256}")
_VALUE = re.compile(r"[\x20-\x7e]*")
_RESERVED = frozenset({"content-type", "content-length", "dapr-api-token", "host", "te", "user-agent"})

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()


class BadEvent(EvokeError):
    """The bytes are no event that can be told over gRPC."""


def metadata_of(metadata: Mapping[str, str]) -> list[tuple[str, str]]:
    """*metadata* as metadata of a call; what gRPC does not carry as text is left out."""
    lower = ((name.lower(), value.strip()) for name, value in metadata.items())
    return [
        (name, value)
        for name, value in lower
        if _KEY.fullmatch(name)
        and _VALUE.fullmatch(value)
        and name not in _RESERVED
        and not name.startswith("grpc-")
        and not name.endswith("-bin")
    ]


def topic_event(place: Place, payload: bytes) -> messages.TopicEventRequest:
    """Raises BadEvent."""
    found = _read(payload)
    return messages.TopicEventRequest(
        **_attributes(found),
        data=_data(found),
        topic=place.topic,
        pubsub_name=place.pubsub,
        path=place.path,
        extensions=_extensions(found),
    )


def bulk_entry(item: Item) -> messages.TopicEventBulkRequestEntry:
    """Raises BadEvent."""
    if item.raw:
        return messages.TopicEventBulkRequestEntry(
            entry_id=item.id, bytes=item.payload, content_type=BYTES, metadata=dict(item.metadata)
        )
    found = _read(item.payload)
    event = messages.TopicEventCERequest(**_attributes(found), data=_data(found), extensions=_extensions(found))
    return messages.TopicEventBulkRequestEntry(
        entry_id=item.id, cloud_event=event, content_type=STRUCTURED, metadata=dict(item.metadata)
    )


def subscriptions_of(reply: messages.ListTopicSubscriptionsResponse) -> tuple[AppSubscription, ...]:
    """Raises BadDeclaration."""
    return checked(tuple(_subscription(one) for one in reply.subscriptions))


def _subscription(one: messages.TopicSubscription) -> AppSubscription:
    bulk = one.bulk_subscribe
    size, wait = bulk_of(bulk.max_messages_count, bulk.max_await_duration_ms) if bulk.enabled else (0, timedelta(0))
    return AppSubscription(
        pubsub=one.pubsub_name,
        topic=one.topic,
        path=one.routes.default,
        rules=tuple(Rule(match=rule.match.strip(), path=rule.path) for rule in one.routes.rules),
        metadata=dict(one.metadata),
        dead_letter=one.dead_letter_topic,
        bulk=size,
        bulk_wait=wait,
    )


def _read(payload: bytes) -> dict[str, msgspec.Raw]:
    try:
        return _members.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadEvent(f"not a CloudEvent in structured JSON: {error}") from error


def _attributes(found: Mapping[str, msgspec.Raw]) -> dict[str, str]:
    return {
        "id": _text(found, "id"),
        "source": _text(found, "source"),
        "type": _text(found, "type"),
        "spec_version": _text(found, "specversion"),
        "data_content_type": _text(found, "datacontenttype"),
    }


def _text(found: Mapping[str, msgspec.Raw], name: str) -> str:
    """A member that is text; empty where it is absent or something else."""
    raw = found.get(name)
    value = _any.decode(raw) if raw is not None else ""
    return value if isinstance(value, str) else ""


def _data(found: Mapping[str, msgspec.Raw]) -> bytes:
    """The bytes of the event's data: JSON as it stands, text as UTF-8."""
    if "data_base64" in found:
        try:
            return b64decode(_text(found, "data_base64"), validate=True)
        except (BadBase64, ValueError) as error:
            raise BadEvent(f"data_base64 does not hold: {error}") from error
    raw = bytes(found["data"]) if "data" in found else b""
    if raw in {b"", b"null"}:
        return b""
    if raw.startswith(b'"') and not _is_json(_text(found, "datacontenttype")):
        return msgspec.json.decode(raw, type=str).encode()
    return raw


def _is_json(content_type: str) -> bool:
    """Whether data of that type is JSON; so it is where nothing is said (CloudEvents JSON format, section 3.1)."""
    media = content_type.partition(";")[0].strip().lower()
    return not media or media.endswith(("/json", "+json"))


def _extensions(found: Mapping[str, msgspec.Raw]) -> Struct:
    """All that has no field of its own, optional attributes among it."""
    told: dict[str, Any] = {name: _any.decode(raw) for name, raw in found.items() if name not in _CORE}
    extensions = Struct()
    try:
        extensions.update(told)
    except (OverflowError, ValueError, RecursionError) as error:
        raise BadEvent(f"an attribute cannot be told over gRPC: {error}") from error
    return extensions
