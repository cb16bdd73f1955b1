"""The CloudEvents 1.0 codec of the hot path: structured JSON in and out, data spliced and never re-encoded.

Held equal to the SDK by tests. Handlers get functions_framework.event.CloudEvent; this module only moves bytes.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import unquote

import msgspec

from eventbus.errors import Refused

STRUCTURED = "application/cloudevents+json"


class Malformed(Refused):
    """The bytes are not a CloudEvent 1.0."""


class Heading(msgspec.Struct, frozen=True):
    """The attributes that routing needs."""

    id: str
    source: str
    type: str
    specversion: str
    partitionkey: str = ""


_heading = msgspec.json.Decoder(Heading)
_raw = msgspec.json.Decoder(msgspec.Raw)
_encoder = msgspec.json.Encoder()


def heading(payload: bytes) -> Heading:
    """Read the routing attributes of a structured event; raises Malformed."""
    try:
        read = _heading.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"not a CloudEvent in structured JSON: {error}") from error
    if not (read.id and read.source and read.type):
        raise Malformed("a CloudEvent needs id, source and type that are not empty")
    if read.specversion != "1.0":
        raise Malformed(f"CloudEvents specversion {read.specversion!r}, expected '1.0'")
    return read


def ordering_key(payload: bytes) -> str:
    """The event's partitionkey; empty where there is none or the bytes are no event."""
    try:
        return _heading.decode(payload).partitionkey
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ""


def dedupe_id(source: str, id: str) -> str:  # noqa: A002  # CloudEvents' own name
    """What the bus absorbs duplicates by: sha1 of source NUL id."""
    return hashlib.sha1(f"{source}\0{id}".encode(), usedforsecurity=False).hexdigest()


def encode(
    *,
    id: str,  # noqa: A002  # CloudEvents' own name
    source: str,
    type: str,  # noqa: A002  # CloudEvents' own name
    body: bytes | None = None,
    content_type: str | None = None,
    time: datetime | None = None,
    extensions: Mapping[str, str | int | bool] | None = None,
) -> bytes:
    """Structured JSON of one event; *extensions* may hold optional attributes such as subject too.

    A JSON body becomes ``data`` as it stands, text a string, anything else ``data_base64``. Without *content_type* the
    body itself decides.
    """
    members: dict[str, object] = {"specversion": "1.0", "id": id, "source": source, "type": type}
    members["time"] = (time or datetime.now(UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z")
    if extensions:
        members.update(extensions)
    if body is not None:
        members.update(data_members(body, content_type))
    return _encoder.encode(members)


def data_members(body: bytes, content_type: str | None) -> dict[str, object]:
    """``datacontenttype`` and ``data`` or ``data_base64`` of one body."""
    media = content_type.partition(";")[0].strip().lower() if content_type else None
    if media is None or media.endswith(("/json", "+json")):
        raw = _json(body)
        if raw is not None:
            return {"datacontenttype": content_type or "application/json", "data": raw}
    if media is None or media.startswith("text/"):
        text = _text(body)
        if text is not None:
            return {"datacontenttype": content_type or "text/plain", "data": text}
    known = {"datacontenttype": content_type} if content_type else {}
    return {**known, "data_base64": b64encode(body).decode()}


def _json(body: bytes) -> msgspec.Raw | None:
    try:
        body.decode()  # the decoder skims strings without checking their UTF-8
        return _raw.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def from_binary(headers: Mapping[str, str], body: bytes) -> bytes:
    """Structured bytes of a message whose headers carry the event (``ce-id``...; percent-encoded values).

    A message in structured mode is returned as it is. Raises Malformed.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    content_type = lower.get("content-type")
    if content_type and content_type.lower().startswith(STRUCTURED):
        heading(body)
        return body
    members: dict[str, object] = {
        name[3:]: unquote(value) for name, value in lower.items() if name.startswith("ce-") and name[3:].isalnum()
    }
    missing = [name for name in ("specversion", "id", "source", "type") if not members.get(name)]
    if missing:
        raise Malformed(f"header ce-{missing[0]} is missing")
    members.pop("datacontenttype", None)
    if body or content_type:
        members.update(data_members(body, content_type or "application/octet-stream"))
    payload = _encoder.encode(members)
    heading(payload)
    return payload


def with_member(payload: bytes, name: str, value: str | int | bool) -> bytes:
    """Splice one attribute into a structured event that does not have it; its other bytes stay."""
    opened = payload.index(b"{") + 1
    return b"%b%b:%b,%b" % (payload[:opened], _encoder.encode(name), _encoder.encode(value), payload[opened:])


def with_key(payload: bytes, read: Heading, key: str) -> bytes:
    """*payload* carrying *key* as its partitionkey: the bus keeps keys in events, nowhere else."""
    if not key or read.partitionkey == key:
        return payload
    if not read.partitionkey:
        return with_member(payload, "partitionkey", key)
    members = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
    members["partitionkey"] = msgspec.Raw(_encoder.encode(key))
    return _encoder.encode(members)
