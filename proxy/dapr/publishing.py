"""Publish and bulk publish: from a message of an app to an event on a bus, with Dapr's codes for what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

import msgspec

from api import topics
from api.errors import EvokeError
from api.meta import Key
from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed, dedupe_id, heading
from eventbus.errors import BusError, BusFull, TooLarge
from proxy.buses import Buses
from proxy.dapr.caller import Caller, identity, scoped
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError
from proxy.envelope import BadMetadata, Message, wrap
from proxy.hops import caused


class Entry(msgspec.Struct, frozen=True):
    """One message of a bulk publish; *metadata* adds to that of the request."""

    id: str
    data: bytes
    content_type: str = ""
    metadata: Mapping[str, str] = {}


class Target(msgspec.Struct, frozen=True):
    """Where one publish goes."""

    pubsub: str
    topic: str
    bus: EventBus
    subject: str


class Publisher:
    """Puts messages of apps on the buses that they may use."""

    def __init__(self, directory: Directory, buses: Buses) -> None:
        self._directory, self._buses = directory, buses

    async def publish(
        self, caller: Caller, pubsub: str, topic: str, data: bytes, content_type: str, metadata: Mapping[str, str]
    ) -> None:
        """Return once the bus has acknowledged the event."""
        target = self.target(caller, pubsub, topic)
        await self._store(target, _message(caller, target, data, content_type, lowered(metadata)))

    async def publish_bulk(
        self, caller: Caller, pubsub: str, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Publish each entry; answers id and error of those that failed. Raises DaprError when none could be tried."""
        target = self.target(caller, pubsub, topic)
        ids = [entry.id for entry in entries]
        if not all(ids) or len(set(ids)) != len(ids):
            message = f"error when unmarshaling the request for topic {topic} pubsub {pubsub}: "
            raise _unreadable(message + "entryId is duplicated or not present for entry", pubsub)
        common = lowered(metadata)
        store = partial(self._store_entry, caller, target, common)
        # started in their order: the bus stores what one connection publishes in that order
        results = await asyncio.gather(*map(store, entries), return_exceptions=True)
        failed: list[tuple[str, str]] = []
        for entry, result in zip(entries, results, strict=True):
            if isinstance(result, EvokeError):
                failed.append((entry.id, result.message))
            elif isinstance(result, BaseException):
                raise result
        return failed

    def target(self, caller: Caller, pubsub: str, topic: str) -> Target:
        """The bus and subject that a publish of *caller* means; raises DaprError as Dapr words it."""
        if not pubsub:
            raise DaprError(
                404, "INVALID_ARGUMENT", "ERR_PUBSUB_EMPTY", "pubsub name is empty", "DAPR_PUBSUB_NAME_EMPTY"
            )
        if not topic:
            message, reason = f"topic is empty in pubsub {pubsub}", "DAPR_PUBSUB_TOPIC_NAME_EMPTY"
            raise DaprError(404, "INVALID_ARGUMENT", "ERR_TOPIC_NAME_EMPTY", message, reason, pubsub)
        key = self._key(caller, pubsub)
        if topic.startswith(topics.RESERVED):
            raise forbidden(caller, pubsub, topic)
        try:
            bus = self._buses.get(key)
        except BusError as error:
            raise _failed(pubsub, topic, error) from error
        if bus is None:
            raise not_found(pubsub)
        return Target(pubsub, topic, bus, topic)

    def _key(self, caller: Caller, pubsub: str) -> Key:
        component = self._directory.component(caller.app, pubsub)
        if component is None:
            return Key(caller.namespace, pubsub)  # an EventBus, which every app of the namespace may use
        if not scoped(caller.app, component.scopes):
            raise not_found(pubsub, f": its scopes do not name app id {identity(caller.app)}")
        return component.key

    async def _store_entry(self, caller: Caller, target: Target, common: Mapping[str, str], entry: Entry) -> None:
        metadata = {**common, **lowered(entry.metadata)} if entry.metadata else common
        await self._store(target, _message(caller, target, entry.data, entry.content_type, metadata))

    @staticmethod
    async def _store(target: Target, message: Message) -> None:
        """Publish one message; returns once the bus acknowledged it."""
        try:
            payload = caused(wrap(message, datetime.now(UTC)), message.hops)
            read = heading(payload)
            await target.bus.publish(
                target.subject,
                payload,
                key=message.metadata.get("partitionkey", ""),
                dedupe=dedupe_id(read.source, read.id),
                output=bool(message.source),
            )
        except BadMetadata as error:
            code, reason = "ERR_PUBSUB_REQUEST_METADATA", "DAPR_PUBSUB_METADATA_DESERIALIZATION"
            raise DaprError(400, "INVALID_ARGUMENT", code, error.message, reason, target.pubsub) from error
        except Malformed as error:
            # Dapr answers 500, which its clients take for a reason to try again
            code, reason = "ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENTS_SER"
            raise DaprError(400, "INVALID_ARGUMENT", code, error.message, reason, target.pubsub) from error
        except BusError as error:
            raise _failed(target.pubsub, target.topic, error) from error


def lowered(metadata: Mapping[str, str]) -> dict[str, str]:
    """Metadata names count without regard to case."""
    return {name.lower(): value for name, value in metadata.items()}


def _message(caller: Caller, target: Target, data: bytes, content_type: str, metadata: Mapping[str, str]) -> Message:
    return Message(
        body=data,
        content_type=content_type or "text/plain",
        metadata=metadata,
        source=identity(caller.app),
        topic=target.topic,
        pubsub=target.pubsub,
        traceparent=caller.traceparent,
        hops=caller.hops,
    )


def not_found(pubsub: str, because: str = "") -> DaprError:
    message, reason = f"pubsub {pubsub} is not found{because}", "DAPR_PUBSUB_NOT_FOUND"
    return DaprError(404, "INVALID_ARGUMENT", "ERR_PUBSUB_NOT_FOUND", message, reason, pubsub)


def forbidden(caller: Caller, pubsub: str, topic: str) -> DaprError:
    message = f"topic {topic} is not allowed for app id {identity(caller.app)}"
    return DaprError(403, "PERMISSION_DENIED", "ERR_PUBSUB_FORBIDDEN", message, "DAPR_PUBSUB_FORBIDDEN", pubsub)


def _unreadable(message: str, pubsub: str) -> DaprError:
    reason = "DAPR_PUBSUB_MARSHAL_EVENTS"
    return DaprError(400, "INVALID_ARGUMENT", "ERR_PUBSUB_EVENTS_SER", message, reason, pubsub)


def _failed(pubsub: str, topic: str, error: BusError) -> DaprError:
    status = 413 if isinstance(error, TooLarge) else 507 if isinstance(error, BusFull) else 500
    grpc = "RESOURCE_EXHAUSTED" if isinstance(error, BusFull) else "INTERNAL"
    message = f"error when publish to topic {topic} in pubsub {pubsub}: {error}"
    return DaprError(status, grpc, "ERR_PUBSUB_PUBLISH_MESSAGE", message, "DAPR_PUBSUB_PUBLISH_MESSAGE", pubsub)
