"""The operations API of one proxy: publish, tail, and dead letters, for the command line and the controller.

Who may use it is decided by the socket's mode (0600), in a cluster by the API server in front of it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from api import topics
from api.errors import EvokeError, InvalidInput, NotFound, Problem, Unavailable
from api.meta import Key
from api.model import Snapshot, Source
from eventbus.bus import EventBus
from eventbus.cloudevents import Heading, Malformed, Spoofed, checked, dedupe_id, from_request, heading
from eventbus.errors import BusError, BusFull, TooLarge
from functions_framework.codec import MAX_BATCH, carries_event
from proxy.buses import Buses
from proxy.dead_letters import DeadLetterRoutes, one_line
from proxy.envelope import STRUCTURED, Message, wrap
from proxy.parameters import decoded, invalid, moment
from proxy.sources import Sources
from replicas.asgi import Answer, BodyTooLarge, Lines, Reply, Request, Router, json_reply
from triggers import filters
from triggers.sources.source import SourceError
from triggers.sources.webhook import default_path

BODY_LIMIT = 32 << 20


class Events(msgspec.Struct, frozen=True):
    """Body of a publish: many structured CloudEvents."""

    events: list[msgspec.Raw]


class SourceMessage(msgspec.Struct, frozen=True):
    """Body of a publish through a source's broker."""

    topic: str
    payload: str | None = None
    payload_base64: str | None = None
    count: int = 1


class OperationsApi:
    def __init__(self, buses: Buses, sources: Sources, snapshots: Mapping[str, Snapshot]) -> None:
        self._buses, self._sources, self._snapshots = buses, sources, snapshots
        self.app = Router(limit=BODY_LIMIT, refuse=_refuse, missing=_missing)
        route, base = self.app.route, "/v1/namespaces/{namespace}"
        route(["POST"], f"{base}/buses/{{bus}}/publish", self._publish)
        route(["GET"], f"{base}/buses/{{bus}}/tail", self._tail)
        route(["POST"], f"{base}/sources/{{source}}/publish", self._publish_through)
        DeadLetterRoutes(buses, snapshots).serve(self.app, f"{base}/dead-letters/{{trigger}}")

    def _bus(self, request: Request) -> EventBus:
        key = Key(request.params["namespace"], request.params["bus"])
        bus = self._buses.get(key)
        if bus is None:
            names = ", ".join(self._buses.names(key.namespace)) or "none"
            raise NotFound(
                f"no eventbus named '{key.name}' in namespace {key.namespace}", code="E194", hint=f"there is {names}"
            )
        return bus

    async def _publish(self, request: Request) -> Answer:
        bus, subject = self._bus(request), request.query.get("subject", "")
        _check_subject(subject)
        payloads = _payloads(request)
        if pubsub := self._component(Key(request.params["namespace"], request.params["bus"])):
            payloads = [of_component(payload, pubsub, subject) for payload in payloads]
        headings = _checked(payloads)  # all or none: nothing is published if one is no event
        await asyncio.gather(*(_store(bus, subject, *pair) for pair in zip(payloads, headings, strict=True)))
        return json_reply({"published": len(payloads)})

    def _component(self, key: Key) -> str:
        """Name of the pub/sub component that *key* is; empty: it is an EventBus."""
        snapshot = self._snapshots.get(key.namespace)
        there = snapshot.components if snapshot is not None else ()
        return next((one.name for one in there if one.key == key and one.type.startswith("pubsub.")), "")

    async def _publish_through(self, request: Request) -> Answer:
        message = decoded(request.body, SourceMessage)
        namespace, name = request.params["namespace"], request.params["source"]
        hosted = self._sources.find(namespace, name)
        if not hosted:
            snapshot = self._snapshots.get(namespace)
            raise _not_hosted(snapshot.sources if snapshot else (), namespace, name)
        running = next((one.running for one in hosted if one.running is not None), None)
        if running is None:
            raise Unavailable(hosted[0].reading.message)
        payload = _payload(message)
        await asyncio.gather(*(running.publish(message.topic, payload) for _ in range(message.count)))
        return json_reply({"published": message.count})

    async def _tail(self, request: Request) -> Answer:
        bus = self._bus(request)
        predicate = filters.compile(None, request.query.get("filter") or None)
        since = moment(request.query.get("since", ""), datetime.now(UTC))
        return Lines(_matching(bus, request.query.get("subject") or ">", since, predicate))


def _not_hosted(declared: Sequence[Source], namespace: str, name: str) -> EvokeError:
    """Why no message can go through the event source *name*."""
    owner = name.partition(".")[0]
    named = [one for one in declared if one.key.name.partition(".")[0] == owner]
    hook = next((one for one in named if one.kind == "http" and name in {owner, one.key.name}), None)
    if hook is not None:
        path = hook.options.get("path") or default_path(hook)
        return SourceError(f"event source {name} is a webhook", hint=f"POST to the gateway: {path}")
    if named:
        return Unavailable(f"event source {name} does not run in this process yet", hint="try again in a moment")
    there = ", ".join(sorted({one.key.name.partition(".")[0] for one in declared})) or "none"
    return NotFound(f"no eventsource named '{name}' in namespace {namespace}", code="E194", hint=f"there is {there}")


def of_component(payload: bytes, pubsub: str, topic: str) -> bytes:
    """*payload* with what Dapr's API would add; as it is where it is no event, which is told when it is checked."""
    random = os.urandom(24).hex()
    message = Message(
        body=payload,
        content_type=STRUCTURED,
        metadata={},
        source="",
        topic=topic,
        pubsub=pubsub,
        traceparent=f"00-{random[:32]}-{random[32:]}-00",
    )
    try:
        checked(payload, outsider=True)
        return wrap(message, datetime.now(UTC))
    except (Malformed, Spoofed):
        return payload


def _check_subject(subject: str) -> None:
    if subject.startswith(("$", topics.RESERVED)):
        raise Spoofed(f"subject {subject[:60]} belongs to the platform")
    wrong = topics.subject(subject) if subject else "the subject is missing: publish?subject=NAME"
    if wrong:
        raise InvalidInput([Problem(code="E122", path="subject", message=wrong)])


def _payloads(request: Request) -> list[bytes]:
    """The structured events of a publish: CloudEvents over HTTP in any mode, one as JSON, a list under ``events``."""
    if carries_event(request.lines):
        return from_request(request.lines, request.body)
    try:
        read = msgspec.json.decode(request.body, type=dict[str, msgspec.Raw])
        if "events" not in read:
            return [request.body]
        events = msgspec.json.decode(request.body, type=Events).events
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return [request.body]  # checking it says what is wrong, and at which byte
    if len(events) > MAX_BATCH:
        raise Malformed(f"batch of {len(events)} events; at most {MAX_BATCH}", status=413)
    return [bytes(event) for event in events]


def _checked(payloads: list[bytes]) -> list[Heading]:
    """What each event says of itself; raises Malformed or Spoofed for the first that may not be published."""
    found = []
    for index, payload in enumerate(payloads):
        try:
            found.append(checked(payload, outsider=True))
        except (Malformed, Spoofed) as error:
            if len(payloads) > 1:
                error.message = f"index {index}: {error.message}"
            raise
    return found


async def _store(bus: EventBus, subject: str, payload: bytes, read: Heading) -> None:
    await bus.publish(subject, payload, dedupe=dedupe_id(read.source, read.id))


def _payload(message: SourceMessage) -> bytes:
    if message.payload_base64 is None:
        return (message.payload or "").encode()
    try:
        return base64.b64decode(message.payload_base64, validate=True)
    except binascii.Error as error:
        raise invalid(f"payload_base64 does not hold: {error}") from error


async def _matching(
    bus: EventBus, subject: str, since: datetime | None, predicate: filters.Predicate
) -> AsyncIterator[bytes]:
    async for event in bus.tail(subject, since=since):
        try:
            heading(event.payload)  # what is no event would end the reader's stream of JSON
            if predicate(event.payload):
                yield one_line(event.payload)
        except (filters.Malformed, Malformed):
            continue


async def _missing(request: Request) -> Answer:
    raise NotFound(f"{request.method} {request.path} is not part of this API", code="E199")


STATUS: Mapping[type[EvokeError], int] = {
    NotFound: 404,
    BodyTooLarge: 413,
    TooLarge: 413,
    Spoofed: 403,
    BusFull: 507,
    Unavailable: 503,
    BusError: 503,
    SourceError: 503,
}
"""First match wins."""


def _refuse(error: EvokeError) -> Reply:
    if isinstance(error, InvalidInput):
        return json_reply({"problems": error.problems}, 422)
    known = next((status for kind, status in STATUS.items() if isinstance(error, kind)), 400)
    status = error.status if isinstance(error, Malformed) else known
    code = error.code or ({507: "E144", 413: "E145"}.get(status, "E143") if isinstance(error, BusError) else "")
    return json_reply({"error": {"code": code, "message": error.message, "hint": error.hint}}, status)
