"""CloudEvents 1.0 as data: the event that handlers receive, and the envelope that the hot path reads.

Used as the SDK's ``cloudevents.http.CloudEvent`` is (``event["type"]``, ``event.data``), plus attribute access.
"""

from __future__ import annotations

import base64
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

REQUIRED = ("id", "source", "type", "specversion")


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """The attributes a platform process reads of a structured event; data stays undecoded bytes."""

    id: str
    source: str
    type: str
    specversion: str = "1.0"
    datacontenttype: str | None = None
    subject: str | None = None
    time: str | None = None
    partitionkey: str = ""
    """The ordering key (CloudEvents partitioning extension); empty: the event has no order."""
    traceparent: str | None = None
    evokehops: int = 0
    data: msgspec.Raw = msgspec.Raw()
    data_base64: str | None = None


class CloudEvent(Mapping[str, Any]):
    """One event: a read-only mapping of its attributes, extensions included, with ``data`` beside them.

    Attributes can be read as Python attributes too (``event.type``). ``data`` is the decoded JSON value, a string,
    bytes, or None.
    """

    __slots__ = ("_attributes", "data")

    def __init__(self, attributes: Mapping[str, Any], data: Any = None) -> None:
        """Fill in id, specversion and time where they are missing; *type* and *source* are required."""
        own = {str(name): value for name, value in attributes.items() if value is not None}
        missing = [name for name in ("type", "source") if name not in own]
        if missing:
            raise ValueError(f"CloudEvent needs the attribute {missing[0]}")
        own.setdefault("specversion", "1.0")
        own.setdefault("id", str(uuid.uuid4()))
        own.setdefault("time", datetime.now(UTC).isoformat().replace("+00:00", "Z"))
        self._attributes: dict[str, Any] = own
        self.data = data

    @classmethod
    def from_dict(cls, members: Mapping[str, Any]) -> CloudEvent:
        """Build from the members of a structured-mode JSON object, ``data`` or ``data_base64`` among them.

        Adds nothing: absent attributes stay absent.
        """
        event = cls.__new__(cls)
        event._attributes = {
            name: value for name, value in members.items() if name not in {"data", "data_base64"} and value is not None
        }
        encoded = members.get("data_base64")
        event.data = base64.b64decode(encoded) if encoded is not None else members.get("data")
        return event

    @classmethod
    def adopt(cls, members: dict[str, Any]) -> CloudEvent:
        """Build as ``from_dict`` does, taking *members* over instead of copying it: for the path of every event."""
        event = cls.__new__(cls)
        encoded = members.pop("data_base64", None)
        data = members.pop("data", None)
        event._attributes = members
        event.data = base64.b64decode(encoded) if encoded is not None else data
        return event

    def to_dict(self) -> dict[str, Any]:
        """Members of the structured-mode JSON object."""
        members = dict(self._attributes)
        if isinstance(self.data, bytes | bytearray | memoryview):
            members["data_base64"] = base64.b64encode(self.data).decode()
        elif self.data is not None:
            members["data"] = self.data
        return members

    def __getitem__(self, name: str) -> Any:
        return self._attributes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._attributes)

    def __len__(self) -> int:
        return len(self._attributes)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_attributes")[name]
        except KeyError:
            if name in {"subject", "time", "datacontenttype", "dataschema", "partitionkey"}:
                return None
            raise AttributeError(f"CloudEvent has no attribute {name}") from None

    def get_attributes(self) -> Mapping[str, Any]:
        """Return the attributes as the SDK does."""
        return dict(self._attributes)

    def get_data(self) -> Any:
        """Return the data as the SDK does."""
        return self.data

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CloudEvent):
            return NotImplemented
        return self._attributes == other._attributes and self.data == other.data

    def __hash__(self) -> int:
        return hash((self._attributes.get("source"), self._attributes.get("id")))

    def __repr__(self) -> str:
        return f"CloudEvent({self._attributes!r}, data={self.data!r})"
