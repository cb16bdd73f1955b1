"""What Dapr makes of a published message: a structured CloudEvent, byte for byte where it already is one; pure.

Source: Dapr's components-contrib, pubsub/envelope.go. Two additions of ours: an event without id gets one, because
``(source, id)`` identifies duplicates, and a raw payload is carried by an event (eventbus/raw.py), because the bus
stores nothing but CloudEvents.
"""

from __future__ import annotations

import uuid
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from api import durations
from api.errors import EvokeError
from eventbus.cloudevents import check_json, checked
from eventbus.raw import BYTES, MARK

STRUCTURED = "application/cloudevents+json"
EVENT_TYPE = "com.dapr.event.sent"
OVERRIDES = ("id", "source", "type", "subject", "traceid", "traceparent", "tracestate")
"""Attributes that request metadata ``cloudevent.<name>`` may set."""

TRUE = frozenset({"true", "1", "yes", "y", "on", "t"})
FALSE = frozenset({"false", "0", "no", "n", "off", "f", ""})

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_value = msgspec.json.Decoder()
_encode = msgspec.json.Encoder().encode


class BadMetadata(EvokeError):
    """The metadata of a request does not hold."""


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One publish; *metadata* has lower-case names."""

    body: bytes
    content_type: str
    metadata: Mapping[str, str]
    source: str
    """App id of the caller."""
    topic: str
    pubsub: str
    traceparent: str = ""
    tracestate: str = ""
    hops: int | None = None
    """Of the event that caused it, where the caller echoes header ``evoke-hops`` of its delivery."""


def wrap(message: Message, now: datetime) -> bytes:
    """Structured JSON of *message*; raises Malformed and BadMetadata."""
    media = message.content_type.partition(";")[0].strip().lower()
    raw = _raw_payload(message)
    if media == STRUCTURED and not raw:
        return _passed_through(message, now)
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": str(uuid.uuid4()),
        "source": message.source or "Dapr",
        "type": EVENT_TYPE,
        "time": _time(now),
        "topic": message.topic,
        "pubsubname": message.pubsub,
    }
    members |= _trace(message) | _data(message, BYTES if raw else media)
    if raw:
        members[MARK] = True
    overrides = _overrides(message, now)
    payload = bytes(_encode(members | overrides))
    if overrides:
        checked(payload)
    return payload


def _raw_payload(message: Message) -> bool:
    said = message.metadata.get("rawpayload", "false").lower()
    if said not in TRUE | FALSE:
        raise BadMetadata(f"metadata rawPayload is {said[:20]!r}, expected true or false")
    return said in TRUE


def _passed_through(message: Message, now: datetime) -> bytes:
    try:
        members: dict[str, Any] = dict(_members.decode(message.body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        checked(message.body)  # says what is wrong, and at which byte
        raise
    filled = {
        "id": str(uuid.uuid4()),
        "source": message.source or "Dapr",
        "type": EVENT_TYPE,
        "specversion": "1.0",
        "time": _time(now),
    }
    whole = filled.keys() - {"time"} <= members.keys()
    (checked if whole else check_json)(message.body)
    members["topic"], members["pubsubname"] = message.topic, message.pubsub
    for name, value in filled.items():
        members.setdefault(name, value)
    if "traceid" not in members and (trace := _trace(message)):
        members["traceid"] = members.get("traceparent", trace["traceid"])
        members = {**members, **{name: value for name, value in trace.items() if name not in members}}
    overrides = _overrides(message, now)
    payload = bytes(_encode(members | overrides))
    if overrides or not whole:
        checked(payload)
    return payload


def _trace(message: Message) -> dict[str, str]:
    if not message.traceparent:
        return {}
    return {"traceid": message.traceparent, "traceparent": message.traceparent, "tracestate": message.tracestate}


def _data(message: Message, media: str) -> dict[str, Any]:
    """``data`` as Dapr has it: JSON with its digits kept, bytes in base64, everything else text."""
    known = {"datacontenttype": message.content_type or "text/plain"}
    if media == "application/json" or media.endswith("+json"):
        try:
            _value.decode(message.body)
            return {**known, "data": msgspec.Raw(message.body)}
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
    if media in {"application/octet-stream", "application/cloudevents+protobuf"}:
        return {"datacontenttype": media, "data_base64": b64encode(message.body).decode()}
    return {**known, "data": message.body.decode("utf-8", "replace")}


def _overrides(message: Message, now: datetime) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name in OVERRIDES if (value := message.metadata.get(f"cloudevent.{name}"))}
    ttl = message.metadata.get("ttlinseconds") or message.metadata.get("ttl")
    if ttl:
        found["expiration"] = _time(now + _lifetime(ttl))
    return found


def _lifetime(text: str) -> timedelta:
    """Seconds, or a Go duration, above 0."""
    number = text.isascii() and text.isdigit() and len(text) <= 9
    try:
        if lifetime := timedelta(seconds=int(text)) if number else durations.parse(text):
            return lifetime
        raise ValueError
    except ValueError:
        message = f"metadata ttlInSeconds is {text[:20]!r}, expected a number of seconds above 0, or a time such as 5m"
        raise BadMetadata(message) from None


def _time(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
