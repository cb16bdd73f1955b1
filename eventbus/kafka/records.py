"""Kafka records as CloudEvents and back; pure. Nothing here knows a Kafka client.

What we publish is structured mode. What others publish is read by the CloudEvents Kafka protocol binding 1.0.2
(section 3: ``content-type`` picks the mode, binary mode has ``ce_`` headers in UTF-8), and a record of neither mode is
an event by our own mapping:

| attribute | from |
|---|---|
| type | ``io.evoke.kafka.record`` |
| source | ``kafka://<bus or event source>/<topic>`` |
| id | ``<topic>-<partition>-<offset>`` |
| time | the record's timestamp |
| partitionkey | the record's key |
| data, datacontenttype | the value and its ``content-type`` header; without one the bytes decide |
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from eventbus import cloudevents
from eventbus.cloudevents import STRUCTURED, Malformed

DEDUPE = "evoke-dedupe"
"""Header that names one event whatever record carries it; see EventBus.publish."""
PLAIN_TYPE = "io.evoke.kafka.record"

_EPOCH = datetime.fromtimestamp(0, UTC)
_ANY_MODE = "application/cloudevents"
_encoder = msgspec.json.Encoder()

Headers = Sequence[tuple[str, bytes | None]]


class Record(NamedTuple):
    """One record as a client received it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    timestamp: float
    """Unix seconds; 0 when the record has none."""

    @property
    def place(self) -> str:
        return f"{self.topic}-{self.partition}-{self.offset}"


class Event(NamedTuple):
    payload: bytes
    """Structured CloudEvents JSON."""
    key: str
    """Ordering key; empty: none."""


class Stored(NamedTuple):
    """What one event becomes on Kafka."""

    key: bytes | None
    value: bytes | None
    """None: a tombstone."""
    headers: list[tuple[str, bytes]]


def to_record(payload: bytes, *, key: str = "", dedupe: str = "") -> Stored:
    """The record of one structured event whose ordering key is *key*."""
    headers = [("content-type", STRUCTURED.encode())]
    if dedupe:
        headers.append((DEDUPE, dedupe.encode()))
    return Stored(key.encode() or None, payload, headers)


def to_event(record: Record, owner: str) -> Event:
    """The event in *record*; *owner* names the bus or event source in the mapping of records that are none.

    Raises Malformed, with the record's place: a tombstone, a header twice or not in UTF-8, a mode that we do not read,
    or bytes that are not the CloudEvent that their headers announce.
    """
    try:
        return _event(record, owner)
    except Malformed as error:
        raise Malformed(f"record {record.place}: {error.message}") from error


def dedupe_of(record: Record) -> str:
    """The dedupe id that whoever published the record gave it; empty: none."""
    for name, value in record.headers:
        if name == DEDUPE and value:
            return value.decode(errors="replace")
    return ""


def _event(record: Record, owner: str) -> Event:
    content_type = _header(record.headers, "content-type")
    mode = content_type.lower().partition(";")[0].strip()
    if mode == STRUCTURED:
        return _structured(record)
    if mode.startswith(_ANY_MODE):
        raise Malformed(f"content-type {content_type} is not read, expected {STRUCTURED} or binary mode")
    if any(name.lower().startswith("ce_") for name, _ in record.headers):
        return _binary(record, content_type)
    return _plain(record, content_type, owner)


def _structured(record: Record) -> Event:
    if record.value is None:
        raise Malformed("a tombstone, though its content-type announces a CloudEvent")
    try:
        record.value.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"the event is not UTF-8: {error.reason} at byte {error.start}") from error
    ours = dedupe_of(record)  # was checked before it was published
    read = cloudevents.heading(record.value) if ours else cloudevents.checked(record.value)
    if read.partitionkey or not record.key:
        return Event(record.value, read.partitionkey)
    key = key_text(record.key)
    return Event(cloudevents.with_key(record.value, read, key), key)


def _binary(record: Record, content_type: str) -> Event:
    members: dict[str, object] = {}
    for name, _ in record.headers:
        attribute = name.lower().removeprefix("ce_")
        if not name.lower().startswith("ce_"):
            continue
        if not (attribute.isascii() and attribute.isalnum()) or attribute in {"data", "datacontenttype"}:
            raise Malformed(f"header {name} names no attribute")
        members[attribute] = _header(record.headers, f"ce_{attribute}")
    missing = [name for name in ("specversion", "id", "source", "type") if not members.get(name)]
    if missing:
        raise Malformed(f"header ce_{missing[0]} is missing")
    if record.value is not None:  # none is an event without data
        members |= cloudevents.data_members(record.value, content_type or "application/octet-stream")
    key = str(members.get("partitionkey", "")) or key_text(record.key)
    if key:
        members["partitionkey"] = key
    payload = _encoder.encode(members)
    cloudevents.heading(payload)
    return Event(payload, key)


def _plain(record: Record, content_type: str, owner: str) -> Event:
    if record.value is None:
        raise Malformed("a tombstone: it has no value")
    key = key_text(record.key)
    payload = cloudevents.encode(
        id=record.place,
        source=f"kafka://{owner}/{record.topic}",
        type=PLAIN_TYPE,
        body=record.value,
        content_type=content_type or None,
        time=_EPOCH + timedelta(seconds=record.timestamp) if record.timestamp > 0 else None,
        extensions={"partitionkey": key} if key else None,
    )
    return Event(payload, key)


def key_text(key: bytes | None) -> str:
    """A record's key as text: UTF-8 as it stands, anything else in hexadecimal."""
    if not key:
        return ""
    try:
        text = key.decode()
    except UnicodeDecodeError:
        return key.hex()
    return text


def _header(headers: Headers, name: str) -> str:
    """The one header of that name, whatever its case; empty when there is none. Raises Malformed."""
    found = [value for known, value in headers if known.lower() == name]
    if len(found) > 1:
        raise Malformed(f"header {name} stands there {len(found)} times")
    try:
        return (found[0] or b"").decode() if found else ""
    except UnicodeDecodeError as error:
        raise Malformed(f"header {name} is not UTF-8") from error
