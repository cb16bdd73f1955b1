"""Publish and bulk publish: from a message of an app to an event on a bus, with Dapr's codes for what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from api import topics
from api.component_scopes import names, permits
from api.errors import EvokeError
from api.meta import Key
from api.model import App
from api.topic_scopes import Direction, denied
from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed, dedupe_id, heading
from eventbus.errors import BusError, BusFull, TooLarge
from eventbus.raw import NOTHING
from proxy.buses import Buses
from proxy.dapr.caller import Caller, identity
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError
from proxy.dapr.guards import Guards
from proxy.envelope import BadMetadata, Message, wrap
from proxy.hops import caused
from proxy.molds import Mold, molded

REMEMBERED = 10_000
"""Topics of apps whose place is known without looking."""


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


class Molds:
    """Makes the events of one bulk publish."""

    def __init__(self, now: datetime) -> None:
        self._now = now
        self._molds: dict[str, Mold] = {}

    def make(self, message: Message) -> tuple[bytes, str]:
        """Payload and what a bus knows duplicates by; raises BadMetadata and Malformed."""
        if not molded(message):
            return _single(message)
        mold = self._molds.get(message.content_type)
        if mold is None:
            mold = self._molds[message.content_type] = Mold(message, self._now)
        id_, payload = mold.event(message.body)
        return payload, dedupe_id(mold.source, id_)


class Publisher:
    """Puts messages of apps on the buses that they may use."""

    def __init__(self, directory: Directory, buses: Buses, guards: Guards) -> None:
        self._directory, self._buses, self._guards = directory, buses, guards
        self._places: dict[tuple[Key, str, str], Place] = {}

    def forget(self) -> None:
        """Components or apps have changed."""
        self._places.clear()

    async def publish(
        self, caller: Caller, pubsub: str, topic: str, data: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Return once the bus has acknowledged the event."""
        place = self.place(caller, pubsub, topic)
        message = _message(caller, place, data, content_type, lowered(metadata))
        made = _Made(*_translated(place, _single, message))
        await self._store(caller, self._bus(place), place, made, message, metadata)

    async def publish_bulk(
        self, caller: Caller, pubsub: str, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Publish each entry; answers id and error of those that failed. Raises DaprError when none could be tried."""
        place = self.place(caller, pubsub, topic)
        ids = [entry.id for entry in entries]
        if not all(ids) or len(set(ids)) != len(ids):
            message = f"error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: "
            raise unreadable(message + "entryId is duplicated or not present for entry", pubsub)
        bus, molds = self._bus(place), Molds(datetime.now(UTC))
        # started in their order: the bus stores what one connection publishes in that order
        results = await asyncio.gather(
            *(self._store_entry(bus, molds, caller, place, metadata, entry) for entry in entries),
            return_exceptions=True,
        )
        failed: list[tuple[str, str]] = []
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, EvokeError):
                failed.append((entry.id, result.message))
            elif isinstance(result, BaseException):
                raise result
        return failed

    def place(self, caller: Caller, pubsub: str, topic: str) -> Place:
        """Bus and subject that a publish of *caller* means; raises DaprError as Dapr words it."""
        asked = (caller.app.key, pubsub, topic)
        found = self._places.get(asked)
        if found is None:
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            found = self._places[asked] = self._find(caller.app, pubsub, topic, "publishing")
        return found

    def subscribable(self, app: App, pubsub: str, topic: str) -> Place:
        """Bus and subject that a subscription of *app* means; raises DaprError as place() does."""
        return self._find(app, pubsub, topic, "subscription")

    def _find(self, app: App, pubsub: str, topic: str, direction: Direction) -> Place:
        if not pubsub:
            message, reason = "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY"
            raise DaprError(404, "INVALID_ARGUMENT", "ERR_PUBSUB_EMPTY", message, reason)
        component = self._directory.component(app, pubsub, "pubsub.")
        if component is not None and not permits(component, app):
            raise not_found(pubsub, f" for app id {identity(app)}: it is not in the component's scopes")
        key = component.key if component is not None else Key(app.key.namespace, pubsub)
        if self._buses.link(key) is None:
            raise not_found(pubsub)
        if not topic:
            message, reason = f"topic is empty in pubsub {pubsub}", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"
            raise DaprError(404, "INVALID_ARGUMENT", "ERR_TOPIC_NAME_EMPTY", message, reason, pubsub)
        if topic.startswith(topics.RESERVED):
            raise forbidden(app, pubsub, topic)
        if component is None:
            return Place(pubsub, topic, key, topic)
        if why := denied(component.metadata, topic, names(app), direction):
            raise forbidden(app, pubsub, topic, f": {why}")
        return Place(pubsub, topic, key, component.topic_prefix + topic, component=True)

    def _bus(self, place: Place) -> EventBus:
        try:
            bus = self._buses.get(place.bus)
        except BusError as error:
            raise _failed(place, error) from error
        if bus is None:
            raise not_found(place.pubsub)
        return bus

    async def _store_entry(
        self, bus: EventBus, molds: Molds, caller: Caller, place: Place, metadata: Mapping[str, str], entry: Entry
    ) -> None:
        own = {**metadata, **entry.metadata} if entry.metadata else metadata
        message = _message(caller, place, entry.data, entry.content_type, lowered(own))
        await self._store(caller, bus, place, _Made(*_translated(place, molds.make, message)), message, own)

    async def _store(
        self, caller: Caller, bus: EventBus, place: Place, made: _Made, message: Message, metadata: Mapping[str, str]
    ) -> None:
        """Publish one message; returns once the bus acknowledged it. *metadata* as written may go beside it. What is
        tried again is the same event: a bus absorbs the second one."""
        if caller.app.resilience:
            send = partial(_send, bus, place, made, message, metadata)
            await self._guards.run(caller.app, f"component:{place.pubsub}", send)
        else:
            await _send(bus, place, made, message, metadata)


class _Made(msgspec.Struct, frozen=True):
    """An event ready for a bus."""

    payload: bytes
    dedupe: str


def _single(message: Message) -> tuple[bytes, str]:
    payload = caused(wrap(message, datetime.now(UTC)), message.hops)
    read = heading(payload)
    return payload, dedupe_id(read.source, read.id)


def _translated(place: Place, make: Callable[[Message], tuple[bytes, str]], message: Message) -> tuple[bytes, str]:
    try:
        return make(message)
    except BadMetadata as error:
        code, reason = "ERR_PUBSUB_REQUEST_METADATA", "DAPR_PUBSUB_METADATA_DESERIALIZATION"
        told = f"failed deserializing metadata. Error: {error.message}"
        raise DaprError(400, "INVALID_ARGUMENT", code, told, reason, place.pubsub) from error
    except Malformed as error:
        raise _no_event(place, error) from error


async def _send(bus: EventBus, place: Place, made: _Made, message: Message, metadata: Mapping[str, str]) -> None:
    try:
        await bus.publish(
            place.subject,
            made.payload,
            key=message.metadata.get("partitionkey", "") or message.metadata.get("__key", ""),
            dedupe=made.dedupe,
            output=bool(message.source),
            metadata=metadata if place.component else NOTHING,
        )
    except Malformed as error:
        raise _no_event(place, error) from error
    except BusError as error:
        raise _failed(place, error) from error


def _no_event(place: Place, error: Malformed) -> DaprError:
    # Dapr answers 500, which its clients take for a reason to try again
    code, reason = "ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENT_CREATION"
    return DaprError(400, "INVALID_ARGUMENT", code, error.message, reason, place.pubsub)


def lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata names count without regard to case."""
    return {name.lower(): value for name, value in metadata.items()}


def _message(caller: Caller, place: Place, data: bytes, content_type: str, metadata: Mapping[str, str]) -> Message:
    return Message(
        body=data,
        content_type=content_type or "text/plain",
        metadata=metadata,
        source=identity(caller.app),
        topic=place.topic,
        pubsub=place.pubsub,
        traceparent=caller.traceparent,
        tracestate=caller.tracestate,
        hops=caller.hops,
    )


def not_found(pubsub: str, because: str = "") -> DaprError:
    message, reason = f"pubsub {pubsub} is not found{because}", "DAPR_PUBSUB_NOT_FOUND"
    return DaprError(404, "INVALID_ARGUMENT", "ERR_PUBSUB_NOT_FOUND", message, reason, pubsub)


def forbidden(app: App, pubsub: str, topic: str, because: str = "") -> DaprError:
    message = f"topic {topic} is not allowed for app id {identity(app)}{because}"
    return DaprError(403, "PERMISSION_DENIED", "ERR_PUBSUB_FORBIDDEN", message, "DAPR_PUBSUB_FORBIDDEN", pubsub)


def unreadable(message: str, pubsub: str, reason: str = "DAPR_PUBSUB_MARSHAL_EVENTS") -> DaprError:
    """A bulk publish that does not hold."""
    return DaprError(400, "INVALID_ARGUMENT", "ERR_PUBSUB_EVENTS_SER", message, reason, pubsub)


def _failed(place: Place, error: BusError) -> DaprError:
    status = 413 if isinstance(error, TooLarge) else 507 if isinstance(error, BusFull) else 500
    grpc = "RESOURCE_EXHAUSTED" if isinstance(error, BusFull) else "INTERNAL"
    message = f"error when publishing to topic {place.topic} in pubsub {place.pubsub}: {error}"
    reason = "DAPR_PUBSUB_PUBLISH_MESSAGE"
    return DaprError(status, grpc, "ERR_PUBSUB_PUBLISH_MESSAGE", message, reason, place.pubsub)
