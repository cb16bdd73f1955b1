"""Messages that are no events: their bytes as they are, in an event that only carries them; pure.

A bus stores events and nothing else. What an app publishes with Dapr's rawPayload, what a raw subscription is handed
and what an input binding brings are bytes without an envelope: they travel as ``data_base64`` of an event that has the
extension ``evokeraw``, and a broker that others read gets the bytes alone. What came with them beside the bytes stands
in ``evokemetadata``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any

import msgspec

MARK, METADATA = "evokeraw", "evokemetadata"
BYTES = "application/octet-stream"
FOREIGN = frozenset({
    "io.evoke.kafka.record",
    "io.evoke.mqtt.message",
    "io.evoke.nats.message",
    "io.evoke.redis.entry",
})  # fmt: skip
"""Types of the events that stand for messages of others that are none."""
NOTHING: Mapping[str, str] = MappingProxyType({})

_encode = msgspec.json.Encoder().encode
_NEEDLE = MARK.encode()
_DATA = b'"data":'


class _Carrier(msgspec.Struct):
    type: str = ""
    evokeraw: bool = False
    evokemetadata: str = ""
    datacontenttype: str = ""
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str = ""


_carrier = msgspec.json.Decoder(_Carrier)
_said = msgspec.json.Decoder(dict[str, str])


def wrap(
    body: bytes,
    *,
    id: str,  # noqa: A002  # CloudEvents' own name
    source: str,
    type: str,  # noqa: A002  # CloudEvents' own name
    time: datetime,
    key: str = "",
    metadata: Mapping[str, str] = NOTHING,
) -> bytes:
    """The event that carries *body*, and *metadata* beside it."""
    members: dict[str, Any] = {
        "specversion": "1.0",
        "id": id,
        "source": source,
        "type": type,
        "time": time.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        MARK: True,
        "datacontenttype": BYTES,
    }
    if key:
        members["partitionkey"] = key
    if metadata:
        members[METADATA] = _encode(dict(metadata)).decode()
    return _encode({**members, "data_base64": b64encode(body).decode()})


def is_raw(payload: bytes) -> bool:
    """Whether the event only carries the bytes that are meant."""
    return _NEEDLE in payload and _read(payload).evokeraw


def content(payload: bytes) -> bytes:
    """The message behind an event: the bytes that it carries, or that it was made of; else the event itself."""
    read = _read(payload)
    if not read.evokeraw and read.type not in FOREIGN:
        return payload
    if read.data_base64:
        return b64decode(read.data_base64)
    data = bytes(read.data)
    text = data.startswith(b'"') and not read.datacontenttype.partition(";")[0].endswith(("/json", "+json"))
    return msgspec.json.decode(data, type=str).encode() if text else _spaced(payload, data)


def _spaced(payload: bytes, data: bytes) -> bytes:
    """*data* with the blanks that stood around it: an event of ours ends with its data, spliced in as it came."""
    whole = payload[payload.find(_DATA) + len(_DATA) : -1]
    return whole if whole.strip() == data else data


def metadata(payload: bytes) -> Mapping[str, str]:
    """What came beside the bytes of a carried message."""
    if METADATA.encode() not in payload:
        return NOTHING
    try:
        return _said.decode(_read(payload).evokemetadata)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return NOTHING


def _read(payload: bytes) -> _Carrier:
    try:
        return _carrier.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return _Carrier()
