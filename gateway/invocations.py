"""Asynchronous invocations: a request becomes an event on the namespace's bus; 202 means that it is stored there."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping

import msgspec

from api.meta import Key
from api.model import Bus, Option, Snapshot, digest
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.connect import connect
from eventbus.errors import BusError, BusFull, TooLarge
from eventbus.openings import Openings
from functions_framework.asynchronous import event_of
from gateway.connection import Request
from gateway.errors import Rejected, later
from gateway.headers import from_client, identity
from gateway.limits import Limits
from gateway.reply import Reply
from gateway.routes import Found

SOURCE = "/async-function/{namespace}/{name}"
"""Calls of two functions are two events, whatever ids their clients chose."""
BUS = "default"

Resolve = Callable[[str, Option], str]
"""(namespace, option) -> its text, secrets included."""

Connect = Callable[[Bus, Callable[[Option], str]], EventBus]


def subject(function: Key) -> str:
    """Where invocations of *function* are published."""
    return f"evoke.async.{function.namespace}.{function.name}"


class Buses:
    """Connections to the buses that invocations go through; the first invocation opens one."""

    def __init__(self, platform: Platform | None, resolve: Resolve, connect: Connect = connect) -> None:
        self._platform, self._resolve, self._connect = platform, resolve, connect
        self._open: dict[str, EventBus] = {}
        self._opening = asyncio.Lock()

    async def get(self, snapshot: Snapshot) -> EventBus:
        """The default bus of a namespace, connected; raises BusError."""
        key = Key(snapshot.namespace, BUS)
        declared = next((bus for bus in snapshot.buses if bus.key == key), Bus(key=key, kind="nats"))
        bus = self._filled(declared)
        name = digest(bus)
        async with self._opening:
            if name not in self._open:
                made = self._connect(bus, lambda option: self._resolve(snapshot.namespace, option))
                await made.connect()
                self._open[name] = made
        return self._open[name]

    async def close(self) -> None:
        for bus in self._open.values():
            await bus.close()
        self._open.clear()

    def _filled(self, bus: Bus) -> Bus:
        """A nats bus without options is the embedded broker of this machine."""
        if bus.kind != "nats" or bus.options or self._platform is None:
            return bus
        here = self._platform
        options: dict[str, Option] = {
            "url": f"nats://{here.nats}",
            "user": here.nats_user,
            "password": here.nats_password,
        }
        return msgspec.structs.replace(bus, options=options)


class Invocations:
    """Takes asynchronous invocations."""

    def __init__(self, buses: Buses, snapshots: Mapping[str, Snapshot], limits: Limits) -> None:
        self._buses, self._snapshots, self._limits = buses, snapshots, limits
        self._openings = Openings()
        self._known = ""

    async def accept(self, request: Request, reply: Reply, found: Found, request_id: bytes) -> None:
        """Answer 202 with ``X-Call-Id`` once the bus has stored the call; raises Rejected when it did not."""
        if request.head.header(b"x-callback-url") is not None:
            raise Rejected(
                400, "E140", "X-Callback-Url is not supported yet", hint="let the function publish its result"
            )
        call = identity(request.head.header(b"x-call-id"))
        body = await self._read(request)
        function = found.route.key
        source = SOURCE.format(namespace=function.namespace, name=function.name)
        payload = _event(source, call.decode(), request, found, request_id, body)
        try:
            bus = await self._buses.get(self._snapshots[function.namespace])
            self._declare()
            await self._openings.wait(bus, Key(function.namespace, BUS), subject(function))
            await bus.publish(subject(function), payload, dedupe=_dedupe(source, call))
        except BusFull as error:
            raise later(507, "bus-full", str(error), seconds=5) from error
        except TooLarge as error:
            raise Rejected(413, "too-large", str(error)) from error
        except BusError as error:
            raise later(503, "bus", str(error)) from error
        reply.send(202, [(b"x-call-id", call), (b"x-start-time", b"%d" % time.time_ns())], b"")

    def _declare(self) -> None:
        """Tell what is subscribed now, when that has changed: a call must not be stored before its function listens."""
        known = "".join(snapshot.digest for snapshot in self._snapshots.values())
        if known != self._known:
            self._known = known
            self._openings.declare(one for snapshot in self._snapshots.values() for one in snapshot.subscriptions)

    async def _read(self, request: Request) -> bytes:
        parts: list[bytes] = []
        size = 0
        while request.body is not None and (data := await request.body.chunk()):
            size += len(data)
            if size > self._limits.queued_body:
                limit = self._limits.queued_body
                raise Rejected(413, "too-large", f"an asynchronous invocation has at most {limit} bytes")
            parts.append(data)
        return b"".join(parts)


def _event(source: str, call: str, request: Request, found: Found, request_id: bytes, body: bytes) -> bytes:
    headers, _ = from_client(request.head.headers)
    kept = [(name, value) for name, value in headers if name not in {b"host", b"content-length"}]
    event = event_of(
        call=call,
        source=source,
        method=request.head.method,
        target=found.path + request.head.query.decode("ascii"),
        headers=[*kept, (b"x-call-id", call.encode()), (b"x-request-id", request_id)],
        body=body,
    )
    return msgspec.json.encode(event.to_dict())


def _dedupe(source: str, call: bytes) -> str:
    return hashlib.sha1(source.encode() + b"\0" + call, usedforsecurity=False).hexdigest()
