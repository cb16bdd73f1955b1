"""What a message of a key-value bucket says of its key (ADR-8, ADR-43); pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from proxy.components.protocols import EtagInvalid, Item

OPERATION, TTL, SEQUENCE, STAMP = "KV-Operation", "Nats-TTL", "Nats-Sequence", "Nats-Time-Stamp"


class Kept(NamedTuple):
    """The newest message of a key."""

    value: bytes
    revision: int
    deleted: bool
    expires: str


ABSENT = Kept(b"", 0, True, "")


class _Stored(msgspec.Struct):
    seq: int
    time: str
    data: bytes = b""
    hdrs: bytes = b""


class Got(msgspec.Struct):
    message: _Stored


def revision(etag: str) -> int:
    """Raises EtagInvalid; 0 is the revision of no value."""
    if not (etag.isascii() and etag.isdigit() and len(etag) < 20):
        raise EtagInvalid(f"etag `{etag[:40]}` is none of this store: they are numbers")
    return int(etag) or 1 << 62


def kept(value: bytes, headers: Mapping[str, str]) -> Kept:
    deleted = headers.get(OPERATION, "") in {"DEL", "PURGE"} or "Nats-Marker-Reason" in headers
    return Kept(value, int(headers[SEQUENCE]), deleted, _expires(headers))


def _expires(headers: Mapping[str, str]) -> str:
    """When a message goes, as ttlExpireTime says it; its Nats-TTL is a Go duration as we write it, or seconds."""
    seconds = headers.get(TTL, "").removesuffix("s")
    if not seconds.isdigit() or not seconds.isascii():
        return ""
    stored = datetime.fromisoformat(headers[STAMP][:19]).replace(tzinfo=UTC)
    return (stored + timedelta(seconds=int(seconds))).strftime("%Y-%m-%dT%H:%M:%SZ")


def item(found: Kept) -> Item | None:
    if found.deleted:
        return None
    metadata = {"ttlExpireTime": found.expires} if found.expires else {}
    return Item(value=found.value, etag=str(found.revision), metadata=metadata)
