"""The operations API of one proxy: publish, tail, and dead letters, for the command line and the controller.

Who may use it is decided by the socket's mode (0600), in a cluster by the API server in front of it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from api import topics
from api.errors import EvokeError, InvalidInput, NotFound, Problem, Unavailable
from api.meta import Key
from api.model import Snapshot, Subscription
from eventbus.bus import DeadLetter, EventBus
from eventbus.cloudevents import Heading, Malformed, Spoofed, checked, dedupe_id, from_request
from eventbus.errors import BusError, BusFull, TooLarge
from functions_framework.codec import MAX_BATCH, carries_event
from proxy.asgi import Answer, BodyTooLarge, Lines, Reply, Request, Router, json_reply
from proxy.buses import Buses
from proxy.sources import Sources
from triggers import filters
from triggers.sources.source import SourceError

BODY_LIMIT = 32 << 20
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_encode = msgspec.json.Encoder().encode
_raw = msgspec.json.Decoder(msgspec.Raw)


class Events(msgspec.Struct, frozen=True):
    """Body of a publish: many structured CloudEvents."""

    events: list[msgspec.Raw]


class SourceMessage(msgspec.Struct, frozen=True):
    """Body of a publish through a source's broker."""

    topic: str
    payload: str | None = None
    payload_base64: str | None = None
    count: int = 1


class Selection(msgspec.Struct, frozen=True):
    """Body of a replay; None: every letter."""

    ids: list[str] | None = None


class OperationsApi:
    def __init__(self, buses: Buses, sources: Sources, snapshots: Mapping[str, Snapshot]) -> None:
        self._buses, self._sources, self._snapshots = buses, sources, snapshots
        self.app = Router(limit=BODY_LIMIT, refuse=_refuse, missing=_missing)
        route, base = self.app.route, "/v1/namespaces/{namespace}"
        route(["POST"], f"{base}/buses/{{bus}}/publish", self._publish)
        route(["GET"], f"{base}/buses/{{bus}}/tail", self._tail)
        route(["POST"], f"{base}/sources/{{source}}/publish", self._publish_through)
        route(["GET"], f"{base}/dead-letters/{{trigger}}", self._list)
        route(["POST"], f"{base}/dead-letters/{{trigger}}", self._replay)
        route(["DELETE"], f"{base}/dead-letters/{{trigger}}", self._purge)

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
        headings = _checked(payloads)  # all or none: nothing is published if one is no event
        await asyncio.gather(*(_store(bus, subject, *pair) for pair in zip(payloads, headings, strict=True)))
        return json_reply({"published": len(payloads)})

    async def _publish_through(self, request: Request) -> Answer:
        message = _decode(request.body, SourceMessage)
        namespace, name = request.params["namespace"], request.params["source"]
        hosted = self._sources.find(namespace, name)
        if not hosted:
            snapshot = self._snapshots.get(namespace)
            declared = {one.key.name.partition(".")[0] for one in snapshot.sources} if snapshot else set()
            if name.partition(".")[0] in declared:
                raise Unavailable(f"event source {name} does not run in this process yet", hint="try again in a moment")
            there = ", ".join(sorted(declared)) or "none"
            raise NotFound(
                f"no eventsource named '{name}' in namespace {namespace}", code="E194", hint=f"there is {there}"
            )
        running = next((one.running for one in hosted if one.running is not None), None)
        if running is None:
            raise Unavailable(hosted[0].reading.message)
        payload = _payload(message)
        await asyncio.gather(*(running.publish(message.topic, payload) for _ in range(message.count)))
        return json_reply({"published": message.count})

    async def _tail(self, request: Request) -> Answer:
        bus = self._bus(request)
        predicate = filters.compile(None, request.query.get("filter") or None)
        since = _since(request.query.get("since", ""), datetime.now(UTC))
        return Lines(_matching(bus, request.query.get("subject") or ">", since, predicate))

    async def _list(self, request: Request) -> Answer:
        wanted, reason = request.query.get("id"), request.query.get("reason")
        since = _since(request.query.get("since", ""), datetime.now(UTC))

        async def lines() -> AsyncIterator[bytes]:
            async for name, _, letter in self._letters(request):
                asked = wanted in {None, "", name} and reason in {None, "", letter.reason}
                if asked and (since is None or letter.at >= since):
                    yield _letter(name, letter)

        return Lines(_each([line async for line in lines()]))

    async def _replay(self, request: Request) -> Answer:
        wanted = _decode(request.body or b"{}", Selection).ids
        chosen = [
            (bus, letter) async for name, bus, letter in self._letters(request) if wanted is None or name in wanted
        ]
        for bus, letter in chosen:
            await bus.replay(letter)
        return json_reply({"count": len(chosen)})

    async def _purge(self, request: Request) -> Answer:
        given = request.query.get("ids")
        wanted = given.split(",") if given else None
        found: dict[Key, tuple[EventBus, list[str]]] = {}
        async for name, bus, letter in self._letters(request):
            if wanted is None or name in wanted:
                found.setdefault(letter.subscription, (bus, []))[1].append(letter.id)
        count = 0
        for subscription, (bus, ids) in found.items():
            count += await bus.purge_dead_letters(subscription, ids)
        return json_reply({"count": count})

    async def _letters(self, request: Request) -> AsyncIterator[tuple[str, EventBus, DeadLetter]]:
        """Every letter of a trigger with the id that people use: among several subscriptions, theirs comes first."""
        found = list(self._subscriptions(request.params["namespace"], request.params["trigger"]))
        for subscription in found:
            bus = self._buses.get(subscription.bus)
            if bus is None:
                continue
            async for letter in bus.dead_letters(subscription.key):
                prefix = f"{subscription.key.name}/" if len(found) > 1 else ""
                yield f"{prefix}{letter.id}", bus, letter

    def _subscriptions(self, namespace: str, trigger: str) -> Iterator[Subscription]:
        snapshot = self._snapshots.get(namespace)
        declared = snapshot.subscriptions if snapshot else ()
        found = [one for one in declared if trigger in {one.trigger, one.key.name}]
        if not found:  # a function's name stands for all that it is subscribed to
            found = [one for one in declared if any(trigger == backend.revision.function for backend in one.backends)]
        if not found:
            there = ", ".join(sorted({one.trigger or one.key.name for one in declared})) or "none"
            raise NotFound(
                f"no trigger named '{trigger}' in namespace {namespace}", code="E194", hint=f"there is {there}"
            )
        return iter(found)


def _check_subject(subject: str) -> None:
    if subject.startswith(("$", "evoke.")):
        raise Spoofed(f"subject {subject[:60]} belongs to the platform")
    wrong = topics.subject(subject) if subject else "the subject is missing: publish?subject=NAME"
    if wrong:
        raise InvalidInput([Problem(code="E122", path="subject", message=wrong)])


def _payloads(request: Request) -> list[bytes]:
    """The structured events of a publish: CloudEvents over HTTP in any mode, one as JSON, a list under ``events``."""
    headers = list(request.headers.items())
    if carries_event(headers):
        return from_request(headers, request.body)
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
        raise _invalid(f"payload_base64 does not hold: {error}") from error


def _decode(body: bytes, type_: Any) -> Any:
    try:
        return msgspec.json.decode(body, type=type_)
    except msgspec.DecodeError as error:
        raise _invalid(str(error)) from error


def _since(text: str, now: datetime) -> datetime | None:
    """``10m`` before *now*, or an RFC 3339 time; None where nothing is given."""
    if not text:
        return None
    if match := re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", text):
        return now - timedelta(seconds=float(match[1]) * UNITS[match[2]])
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _invalid(f"since is `{text}`: write 10m, or a time such as 2026-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


async def _matching(
    bus: EventBus, subject: str, since: datetime | None, predicate: filters.Predicate
) -> AsyncIterator[bytes]:
    async for event in bus.tail(subject, since=since):
        try:
            if predicate(event.payload):
                yield event.payload
        except filters.Malformed:
            continue


async def _each(lines: list[bytes]) -> AsyncIterator[bytes]:
    for line in lines:
        yield line


def _letter(name: str, letter: DeadLetter) -> bytes:
    members: dict[str, Any] = msgspec.to_builtins(letter)
    members["id"], members["subscription"] = name, str(letter.subscription)
    del members["payload"]
    try:
        members["event"] = _raw.decode(letter.payload)
    except msgspec.DecodeError:
        members["payload_base64"] = base64.b64encode(letter.payload).decode()
    return bytes(_encode(members))


def _invalid(message: str) -> InvalidInput:
    return InvalidInput([Problem(code="E111", message=message)])


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
