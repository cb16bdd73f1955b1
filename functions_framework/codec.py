"""CloudEvents 1.0 over HTTP: what a request carries, strictly; pure. The proxy's batches do not come this way."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote_to_bytes

from functions_framework import strict_json as strict
from functions_framework.attributes import MAX_ATTRIBUTES, problem, spoofed
from functions_framework.event import CloudEvent

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MAX_BATCH = 1000

Headers = Sequence[tuple[bytes, bytes]]
"""Names lower case, as ASGI has them."""


class BadEvent(Exception):
    """A request that carries no valid CloudEvent; *status* is the HTTP answer, the message one line."""

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


def media_type(value: str) -> str:
    """Media type without parameters, lower case."""
    return value.partition(";")[0].strip().lower()


def is_json(media: str) -> bool:
    """Whether data of this media type is JSON; none given means JSON in structured mode."""
    return media.endswith(("/json", "+json"))


def content_type(headers: Headers) -> str:
    """Content type of a request, empty without one.

    Raises:
        BadEvent: 415 if there are two.
    """
    found = [value for name, value in headers if name == b"content-type"]
    if len(found) > 1:
        raise BadEvent("two content-type headers", 415)
    return found[0].decode("latin-1") if found else ""


def carries_event(headers: Headers) -> bool:
    """Whether the request claims to be a CloudEvent in any mode."""
    return any(
        name.startswith(b"ce-")
        or (name == b"content-type" and value.lower().lstrip().startswith(b"application/cloudevents"))
        for name, value in headers
    )


def decode(headers: Headers, body: bytes) -> list[CloudEvent] | CloudEvent:
    """Return the event of a binary or structured request, or the list of a batch.

    Raises:
        BadEvent: with the status and a line that says what is wrong.
    """
    declared = content_type(headers)
    media = media_type(declared)
    if not media.startswith("application/cloudevents"):
        return _binary(headers, declared, body)
    if media not in {STRUCTURED, BATCH}:
        raise BadEvent(f"content type {media} is not supported; supported: {STRUCTURED}, {BATCH}", 415)
    charset = re.search(r"charset\s*=\s*\"?([\w-]+)", declared, re.IGNORECASE)
    if charset and charset[1].lower() not in {"utf-8", "utf8", "us-ascii"}:
        raise BadEvent(f"charset {charset[1]} is not supported; supported: utf-8", 415)
    members = strict_json(body)
    if media == BATCH:
        return _batch(members)
    event = from_members(members)
    _agree(headers, event)
    return event


def from_members(members: Any) -> CloudEvent:
    """Build an event from the decoded members of its structured form, checking them."""
    if not isinstance(members, dict):
        raise BadEvent(f"a structured CloudEvent is a JSON object, got {type(members).__name__}")
    data, encoded = members.get("data"), members.get("data_base64")
    if data is not None and encoded is not None:
        raise BadEvent("CloudEvent has both data and data_base64")
    wrong = problem({n: v for n, v in members.items() if n not in {"data", "data_base64"}})
    if wrong:
        raise BadEvent(wrong)
    if encoded is not None:
        try:
            base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            raise BadEvent("data_base64 is not base64") from None
    return CloudEvent.from_dict(members)


def check_origin(found: CloudEvent | list[CloudEvent]) -> None:
    """Refuse (403) events of an outsider that claim to come from the platform."""
    for event in found if isinstance(found, list) else [found]:
        wrong = spoofed(event)
        if wrong:
            raise BadEvent(wrong, 403)


def strict_json(body: bytes) -> Any:
    """Decode JSON, refusing what the standard library lets through: NaN, 1e999, doubled names, lone surrogates."""
    try:
        return strict.decode(body)
    except strict.BadJson as error:
        raise BadEvent(str(error)) from None


def decode_data(body: bytes, declared: str) -> Any:
    """Data of a binary event: JSON decoded, text as str, the rest as bytes; broken JSON stays bytes."""
    media = media_type(declared)
    if not body:
        return None
    if is_json(media) or not media:
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            return body
    if media.startswith("text/"):
        try:
            return body.decode("utf-8")
        except UnicodeDecodeError:
            return body
    return body


def _binary(headers: Headers, declared: str, body: bytes) -> CloudEvent:
    attributes: dict[str, Any] = {}
    for name, value in headers:
        if not name.startswith(b"ce-"):
            continue
        attribute = name[3:].decode("latin-1")
        if attribute in attributes:
            raise BadEvent(f"two headers ce-{attribute}")
        attributes[attribute] = _header_value(attribute, value)
    if not attributes and not declared:
        raise BadEvent(f"no CloudEvent: neither ce- headers nor a content type such as {STRUCTURED}", 415)
    if len(attributes) > MAX_ATTRIBUTES:
        raise BadEvent(f"CloudEvent has {len(attributes)} attributes; at most {MAX_ATTRIBUTES}", 431)
    if declared:
        attributes["datacontenttype"] = declared
    wrong = problem(attributes)
    if wrong:
        raise BadEvent(wrong)
    event = CloudEvent.from_dict(attributes)
    event.data = decode_data(body, declared)
    return event


def _header_value(name: str, raw: bytes) -> str:
    """Undo a quoted string and percent-encoding, as the HTTP binding says in 3.1.3.2."""
    if raw[:1] == b'"' and raw[-1:] == b'"' and len(raw) > 1:
        raw = re.sub(rb"\\(.)", rb"\1", raw[1:-1])
    elif b'"' in raw:
        raise BadEvent(f"bad percent-encoding in ce-{name}: a quote is written %22")
    if any(byte > 0x7E for byte in raw) or re.search(rb"%(?![0-9A-Fa-f]{2})", raw):
        raise BadEvent(f"bad percent-encoding in ce-{name}")
    try:
        return unquote_to_bytes(raw).decode("utf-8")
    except UnicodeDecodeError:
        raise BadEvent(f"bad percent-encoding in ce-{name}: not UTF-8") from None


def _batch(members: Any) -> list[CloudEvent]:
    if not isinstance(members, list):
        raise BadEvent(f"a batch of CloudEvents is a JSON array, got {type(members).__name__}")
    if len(members) > MAX_BATCH:
        raise BadEvent(f"batch of {len(members)} events; at most {MAX_BATCH}", 413)
    events = []
    for index, member in enumerate(members):
        try:
            events.append(from_members(member))
        except BadEvent as error:
            raise BadEvent(f"index {index}: {error.reason}", error.status) from None
    return events


def _agree(headers: Headers, event: CloudEvent) -> None:
    """Refuse a structured event whose ``ce-`` headers tell another story: two hops would disagree on what it is."""
    for name, value in headers:
        if name.startswith(b"ce-"):
            attribute = name[3:].decode("latin-1")
            if str(event.get(attribute)) != _header_value(attribute, value):
                raise BadEvent(f"ambiguous mode: header ce-{attribute} differs from the structured body")
