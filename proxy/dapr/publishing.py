"""Publish and bulk publish: from a message of an app to an event on a bus, with Dapr's codes for what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial

from api import topics
from api.component_scopes import names, permits
from api.errors import EvokeError
from api.meta import Key
from api.model import App
from api.topic_scopes import Direction, denied
from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed
from eventbus.errors import BusError, BusFull, TooLarge
from proxy.buses import Buses
from proxy.dapr.caller import Caller, identity
from proxy.dapr.directory import Directory
from proxy.dapr.errors import DaprError
from proxy.dapr.guards import Guards
from proxy.dapr.messages import Batch, Entry, Made, Place, no_event, single

SLICE = 16
"""Entries of a bulk publish between which others have their turn: under a millisecond of work."""
REMEMBERED = 10_000
"""Topics of apps whose place is known without looking."""


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
        made = single(caller, place, data, content_type, metadata, datetime.now(UTC))
        await self._store(caller, self._bus(place), place, made)

    async def publish_bulk(
        self, caller: Caller, pubsub: str, topic: str, entries: Sequence[Entry], metadata: Mapping[str, str]
    ) -> list[tuple[str, str]]:
        """Publish each entry; answers id and error of those that failed. Raises DaprError when none could be tried."""
        place = self.place(caller, pubsub, topic)
        ids = [entry.id for entry in entries]
        if not all(ids) or len(set(ids)) != len(ids):
            message = f"error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: "
            raise unreadable(message + "entryId is duplicated or not present for entry", pubsub)
        bus, batch = self._bus(place), Batch(caller, place, metadata, datetime.now(UTC))
        errors: dict[str, str] = {}
        made: list[Made] = []
        storing: list[asyncio.Future[None]] = []
        try:
            for at in range(0, len(entries), SLICE):
                ready = [*_ready(batch, entries[at : at + SLICE], errors)]
                made += ready
                # started in their order: the bus stores what one connection publishes in that order
                storing += [asyncio.ensure_future(self._store(caller, bus, place, one)) for one in ready]
                await asyncio.sleep(0)
            sent = await asyncio.gather(*storing, return_exceptions=True)
        except asyncio.CancelledError:
            for one in storing:
                one.cancel()
            raise
        for event, result in zip(made, sent, strict=True):
            if isinstance(result, EvokeError):
                errors[event.entry] = result.message
            elif isinstance(result, BaseException):
                raise result
        return [(entry.id, errors[entry.id]) for entry in entries if entry.id in errors]

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

    def _store(self, caller: Caller, bus: EventBus, place: Place, made: Made) -> Awaitable[None]:
        """Publish one event; returns once the bus acknowledged it. What is tried again is the same event: a bus
        absorbs the second one."""
        if not caller.app.resilience:
            return _send(bus, place, made)
        return self._guards.run(caller.app, f"component:{place.pubsub}", partial(_send, bus, place, made))


def _ready(batch: Batch, entries: Sequence[Entry], errors: dict[str, str]) -> Iterator[Made]:
    """Events of *entries*; what is wrong with others goes into *errors* by their ids."""
    for entry in entries:
        try:
            yield batch.make(entry)
        except DaprError as error:
            errors[entry.id] = error.message


async def _send(bus: EventBus, place: Place, made: Made) -> None:
    try:
        await bus.publish(
            place.subject, made.payload, key=made.key, dedupe=made.dedupe, output=made.output, metadata=made.beside
        )
    except Malformed as error:
        raise no_event(place.pubsub, error) from error
    except BusError as error:
        raise _failed(place, error) from error


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
