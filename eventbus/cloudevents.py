"""The CloudEvents 1.0 codec of the hot path: structured JSON in and out, data spliced and never re-encoded.

Held equal to the SDK by tests. Handlers get functions_framework.event.CloudEvent; this module only moves bytes.
heading() reads what routing needs of bytes that a backend trusts; checked() and from_request() hold what outsiders and
functions send to every rule of the specification.
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from eventbus.errors import Refused
from functions_framework import codec
from functions_framework.attributes import is_media_type, spoofed
from functions_framework.codec import BadEvent

STRUCTURED = codec.STRUCTURED


class Malformed(Refused):
    """The bytes are not a CloudEvent 1.0."""

    def __init__(self, message: str, *, status: int = 400) -> None:
        """*status*: the HTTP answer; 413, 415 and 431 say more than 400."""
        super().__init__(message, code="E141")
        self.status = status


class Spoofed(Refused):
    """403: the event claims to come from the platform."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="E142", hint="use a name of your own")


class Heading(msgspec.Struct, frozen=True):
    """The attributes that routing needs."""

    id: str
    source: str
    type: str
    specversion: str
    partitionkey: str = ""


_heading = msgspec.json.Decoder(Heading)
_any = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()


def heading(payload: bytes) -> Heading:
    """Read the routing attributes of a structured event; raises Malformed."""
    try:
        read = _heading.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not a CloudEvent in structured JSON: {error}") from error
    if not (read.id and read.source and read.type):
        raise Malformed("a CloudEvent needs id, source and type that are not empty")
    if read.specversion != "1.0":
        raise Malformed(f"CloudEvents specversion {read.specversion!r}, expected '1.0'")
    return read


def checked(payload: bytes, *, outsider: bool = False) -> Heading:
    """Hold one structured event to all of CloudEvents 1.0, strict JSON included; raises Malformed.

    *outsider*: not a function of the platform, so Spoofed is raised for what only the platform sets.
    """
    try:
        members = codec.strict_json(payload)
        event = codec.from_members(members)
    except BadEvent as error:
        raise Malformed(error.reason, status=error.status) from error
    wrong = spoofed(event) if outsider else None
    if wrong:
        raise Spoofed(wrong)
    key = members.get("partitionkey") or ""
    if not isinstance(key, str):
        raise Malformed(f"attribute partitionkey must be a string, got {type(key).__name__}")
    return Heading(members["id"], members["source"], members["type"], members["specversion"], key)


def check_json(body: bytes) -> None:
    """Raise Malformed for JSON that is not strict."""
    try:
        codec.strict_json(body)
    except BadEvent as error:
        raise Malformed(error.reason, status=error.status) from error


def from_request(headers: Sequence[tuple[bytes, bytes]], body: bytes) -> list[bytes]:
    """Structured bytes of each event of an outsider's HTTP request: binary, structured, or a batch.

    Header names are lower case. Raises Malformed and Spoofed; of a batch nothing is taken when one event is bad.
    """
    try:
        found = codec.decode(headers, body)
        codec.check_origin(found)
    except BadEvent as error:
        if error.status == 403:
            raise Spoofed(error.reason) from error
        raise Malformed(error.reason, status=error.status) from error
    if isinstance(found, list):
        return [bytes(event) for event in msgspec.json.decode(body, type=list[msgspec.Raw])]
    content_type = codec.content_type(headers)
    if codec.media_type(content_type) == STRUCTURED:
        return [body]
    return [_joined({name: value for name, value in found.items() if name != "datacontenttype"}, body, content_type)]


def _joined(attributes: Mapping[str, object], body: bytes, content_type: str) -> bytes:
    """One structured event of attributes and the bytes of its data."""
    members: dict[str, object] = dict(attributes)
    if body or content_type:
        members.update(data_members(body, content_type or "application/octet-stream"))
    return _encoder.encode(members)


def ordering_key(payload: bytes) -> str:
    """The event's partitionkey; empty where there is none or the bytes are no event."""
    try:
        return _heading.decode(payload).partitionkey
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
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
    """``datacontenttype`` and ``data`` or ``data_base64`` of one body; what is no content type counts as unknown."""
    if content_type and not is_media_type(content_type):
        content_type = None
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
    """*body* as it stands, where whoever gets it will be able to read it as JSON."""
    try:
        _any.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    return msgspec.Raw(body)


def _text(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def from_binary(headers: Mapping[str, str], body: bytes) -> bytes:
    """Structured bytes of a message whose headers carry the event (``ce-id``...; percent-encoded values).

    A message in structured mode is returned as it is. Raises Malformed, and trusts the sender with the platform's own
    names: a broker's clients were let in by its credentials.
    """
    lower = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    try:
        found = codec.decode(lower, body)
    except BadEvent as error:
        raise Malformed(error.reason, status=error.status) from error
    if isinstance(found, list):
        raise Malformed("a message of a broker holds one event, not a batch")
    content_type = codec.content_type(lower)
    if codec.media_type(content_type) == STRUCTURED:
        return body
    return _joined({name: value for name, value in found.items() if name != "datacontenttype"}, body, content_type)


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
