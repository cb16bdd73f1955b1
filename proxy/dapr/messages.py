"""From what apps publish to events ready for a bus; pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime

import msgspec

from api.meta import Key
from eventbus.cloudevents import Malformed, dedupe_id, heading
from eventbus.raw import NOTHING
from proxy.dapr.caller import Caller, identity
from proxy.dapr.errors import DaprError
from proxy.envelope import STRUCTURED, BadMetadata, Message, wrap
from proxy.hops import caused
from proxy.molds import Mold, molded


class Entry(msgspec.Struct, frozen=True):
    """One message of a bulk publish; *metadata* adds to that of the request."""

    id: str
    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = {}


class Place(msgspec.Struct, frozen=True):
    """Where one app's publishes to one topic go."""

    pubsub: str
    topic: str
    bus: Key
    subject: str
    component: bool = False
    """What goes beside the event means something there."""


class Made(msgspec.Struct, frozen=True):
    """An event ready for a bus."""

    payload: bytes
    dedupe: str
    key: str
    output: bool
    beside: Mapping[str, str] = NOTHING
    """Metadata as written, where the bus has a place for it."""
    entry: str = ""
    """Id of the entry that it is of."""


def single(
    caller: Caller, place: Place, data: bytes, content_type: str, metadata: Mapping[str, str], now: datetime
) -> Made:
    """The event of one message; raises DaprError."""
    return _made(place, _message(caller, place, data, content_type, metadata), metadata, "", now)


class Batch:
    """Makes the events of one bulk publish."""

    def __init__(self, caller: Caller, place: Place, metadata: Mapping[str, str], now: datetime) -> None:
        self._caller, self._place, self._metadata, self._now = caller, place, metadata, now
        self._common = _message(caller, place, b"", "", metadata)
        self._molds: dict[str, Mold | None] = {}

    def make(self, entry: Entry) -> Made:
        """Raises DaprError for an entry whose metadata or event does not hold."""
        if entry.metadata:
            own = {**self._metadata, **entry.metadata}
            message = _message(self._caller, self._place, entry.data, entry.content_type, own)
            return _made(self._place, message, own, entry.id, self._now)
        if entry.content_type in self._molds:
            mold = self._molds[entry.content_type]
        else:
            mold = self._molds[entry.content_type] = self._mold(entry.content_type)
        if mold is None:
            message = msgspec.structs.replace(
                self._common, body=entry.data, content_type=entry.content_type or "text/plain"
            )
            return _made(self._place, message, self._metadata, entry.id, self._now)
        id_, payload = mold.event(entry.data)
        dedupe = dedupe_id(mold.source, id_)
        return _ready(self._place, self._common, payload, dedupe, self._metadata, entry.id)

    def _mold(self, content_type: str) -> Mold | None:
        like = msgspec.structs.replace(self._common, content_type=content_type or "text/plain")
        return Mold(like, self._now) if molded(like) else None


def lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata names count without regard to case."""
    return {name.lower(): value for name, value in metadata.items()}


def no_event(pubsub: str, error: Malformed) -> DaprError:
    """What was published is no event. Dapr answers 500, which its clients take for a reason to try again."""
    code, reason = "ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENT_CREATION"
    return DaprError(400, "INVALID_ARGUMENT", code, error.message, reason, pubsub)


def _message(caller: Caller, place: Place, data: bytes, content_type: str, metadata: Mapping[str, str]) -> Message:
    return Message(
        body=data,
        content_type=content_type or "text/plain",
        metadata=lowered(metadata) if metadata else metadata,
        source=identity(caller.app),
        topic=place.topic,
        pubsub=place.pubsub,
        traceparent=caller.traceparent or _fresh_trace(caller, content_type),
        tracestate=caller.tracestate,
        hops=caller.hops,
    )


def _fresh_trace(caller: Caller, content_type: str) -> str:
    """A W3C traceparent, not sampled: apps written for Dapr count on an event's trace attributes, which it always has.

    What handlers of ours send is an event already, with the trace of the one that caused it.
    """
    if caller.app.protocol == "evoke" and content_type.startswith(STRUCTURED):
        return ""
    random = os.urandom(24).hex()
    return f"00-{random[:32]}-{random[32:]}-00"


def _made(place: Place, message: Message, metadata: Mapping[str, str], entry: str, now: datetime) -> Made:
    try:
        payload = caused(wrap(message, now), message.hops)
        read = heading(payload)
    except BadMetadata as error:
        code, reason = "ERR_PUBSUB_REQUEST_METADATA", "DAPR_PUBSUB_METADATA_DESERIALIZATION"
        told = f"failed deserializing metadata. Error: {error.message}"
        raise DaprError(400, "INVALID_ARGUMENT", code, told, reason, place.pubsub) from error
    except Malformed as error:
        raise no_event(place.pubsub, error) from error
    return _ready(place, message, payload, dedupe_id(read.source, read.id), metadata, entry)


def _ready(
    place: Place, message: Message, payload: bytes, dedupe: str, metadata: Mapping[str, str], entry: str
) -> Made:
    known = message.metadata
    key = known.get("partitionkey", "") or known.get("__key", "")
    return Made(payload, dedupe, key, bool(message.source), metadata if place.component else NOTHING, entry)
