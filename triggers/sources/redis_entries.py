"""Entries of a Redis stream as events; pure.

An entry whose field ``data`` is a CloudEvent in structured JSON, as Dapr's publishers write it, is that event. One
whose fields are named like attributes, ``id``, ``source``, ``type`` and ``specversion`` among them, is a CloudEvent in
binary mode: the field ``data`` is its data. Any other becomes one:

| attribute | from |
|---|---|
| type | ``io.evoke.redis.entry`` |
| source | ``redis://<eventsource>/<event>`` |
| id | the entry's id |
| subject | the stream |
| time | the milliseconds in the id |
| partitionkey | the field ``partitionkey`` |
| data | the field ``data`` where only ``partitionkey`` and ``content-type`` stand beside it, else an object of all |
| datacontenttype | the field ``content-type``; without one the bytes decide |
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from eventbus import cloudevents
from eventbus.cloudevents import Malformed, Spoofed, dedupe_id
from triggers.sources.manners import Manner
from triggers.sources.storing import Brought

EVENT_TYPE = "io.evoke.redis.entry"
REQUIRED = frozenset({b"specversion", b"id", b"source", b"type"})
BESIDE = frozenset({b"data", b"partitionkey", b"content-type"})
_EPOCH = datetime.fromtimestamp(0, UTC)
_LATEST = 253_370_764_800_000
"""Milliseconds of the year 9999; ids that people choose may be anything."""
_encoder = msgspec.json.Encoder()


class Entry(NamedTuple):
    id: str
    fields: Mapping[bytes, bytes]


def redis_event(manner: Manner, entry: Entry, stream: str) -> Brought:
    """The event of one entry of a source of that manner. Dapr's have their own metadata, which are kept."""
    data, beside = entry.fields.get(b"data"), entry.fields.keys() - {b"data", b"metadata"}
    if manner.kind == "dapr" and data is not None and not beside:
        time = _time(entry.id) or _EPOCH
        if plain := manner.plain(data, id=entry.id, type=EVENT_TYPE, time=time):
            return plain
        entry = Entry(entry.id, {b"data": data})
    return to_event(entry, source=manner.uri, stream=stream)


def to_event(entry: Entry, *, source: str, stream: str) -> Brought:
    """The event in *entry*; never fails: what is not quite a CloudEvent, or speaks for the
    platform, is an entry like any other."""
    for read in (_structured, _binary):
        try:
            payload = read(entry.fields)
        except (Malformed, Spoofed, UnicodeDecodeError):
            continue
        if payload is not None:
            heading = cloudevents.heading(payload)
            return Brought(payload, heading.partitionkey, dedupe_id(heading.source, heading.id), entry.id)
    key = _text(entry.fields.get(b"partitionkey", b""))
    payload = _plain(entry, source, stream, key)
    return Brought(payload, key, dedupe_id(source, entry.id), entry.id)


def _structured(fields: Mapping[bytes, bytes]) -> bytes | None:
    data = fields.get(b"data", b"")
    if not data.lstrip().startswith(b"{") or b'"specversion"' not in data:
        return None
    cloudevents.checked(data, outsider=True)
    return data


def _binary(fields: Mapping[bytes, bytes]) -> bytes | None:
    if not all(name in fields for name in REQUIRED):
        return None
    content_type = (fields.get(b"datacontenttype") or fields.get(b"content-type") or b"").decode()
    left_out = {b"data", b"datacontenttype", b"content-type", b"metadata"}  # metadata is Dapr's own
    members: dict[str, object] = {
        name.decode(): value.decode() for name, value in fields.items() if name not in left_out
    }
    if b"data" in fields:
        members |= cloudevents.data_members(fields[b"data"], content_type or None)
    payload = _encoder.encode(members)
    cloudevents.checked(payload, outsider=True)
    return payload


def _plain(entry: Entry, source: str, stream: str, key: str) -> bytes:
    fields = entry.fields
    if b"data" in fields and fields.keys() <= BESIDE:
        body, content_type = fields[b"data"], _text(fields.get(b"content-type", b"")) or None
    else:
        body, content_type = _object(fields), "application/json"
    return cloudevents.encode(
        id=entry.id,
        source=source,
        type=EVENT_TYPE,
        body=body,
        content_type=content_type,
        time=_time(entry.id),
        extensions={"subject": stream, **({"partitionkey": key} if key else {})},
    )


def _object(fields: Mapping[bytes, bytes]) -> bytes:
    """All fields as texts; one that is not UTF-8 stands in base64 under its name and ``_base64``."""
    found: dict[str, str] = {}
    for name, value in fields.items():
        try:
            found[_text(name)] = value.decode()
        except UnicodeDecodeError:
            found[f"{_text(name)}_base64"] = b64encode(value).decode()
    return _encoder.encode(found)


def _text(value: bytes) -> str:
    """UTF-8 as it stands, anything else in hexadecimal."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.hex()


def _time(id_: str) -> datetime | None:
    """What the id says; None, which means now, for ids that are no time."""
    millis = int(id_.partition("-")[0])
    return _EPOCH + timedelta(milliseconds=millis) if 0 < millis < _LATEST else None
