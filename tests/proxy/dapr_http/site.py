"""A runtime with its HTTP API at real addresses, and apps that are real HTTP servers; the test plays the controller."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import msgspec

from api.frames import AppListener, Endpoint, Endpoints, Frame
from api.meta import Key, RevisionKey
from api.model import App, Backend, Bus, Component, Option, Route, Snapshot, Subscription
from api.platform import Platform
from eventbus.connect import connect
from proxy.buses import Buses
from proxy.components.components import Components
from proxy.components.surroundings import Surroundings
from proxy.dapr.runtime import Runtime
from proxy.dapr_http.listeners import HttpListeners
from proxy.serving import Listener
from proxy.settings import ProxySettings
from proxy.wiring import Wiring
from replicas.apps.connect import Apps
from replicas.asgi import Receive, Scope, Send
from replicas.http import HttpClient
from replicas.table import ReplicaTable
from tests.proxy.plant import until

PLATFORM = Platform(
    http="127.0.0.1:1", mqtt="127.0.0.1:1", nats="127.0.0.1:1", dapr="127.0.0.1:1", nats_user="u", nats_password="p",
    key="00" * 32,
)  # fmt: skip
SHOP, STORE = Key("default", "shop"), Key("default", "store")
APPS = (App(key=SHOP, id="shop", protocol="http"), App(key=STORE, id="store", protocol="http", token="s3cret"))
BUS = Key("default", "events")


def component(type_: str, name: str, metadata: dict[str, Option] | None = None, **changes: Any) -> Component:
    return Component(key=Key("default", name), type=type_, version="v1", metadata=metadata or {}, **changes)


def revision(function: Key) -> RevisionKey:
    return RevisionKey(function.namespace, function.name, "00001")


class Seen(msgspec.Struct):
    """A request as an app got it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Seen], Awaitable[tuple[int, bytes]]]


async def echo(seen: Seen) -> tuple[int, bytes]:
    return 200, seen.body


class AppServer:
    """An app on a loopback port; records what it was sent, answers what its handler says."""

    def __init__(self, handler: Handler = echo, app: Any = None) -> None:
        """*app*: an ASGI application instead of a handler."""
        self.handler = handler
        self.seen: list[Seen] = []
        self.address = ""
        self.reply_headers: list[tuple[bytes, bytes]] = [(b"content-type", b"text/x-answer")]
        self._listener = Listener(app or self._app)

    async def start(self) -> Self:
        server = await self._listener.on_address("127.0.0.1", 0)
        self.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        return self

    async def stop(self) -> None:
        await self._listener.stop()

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        body, more = b"", True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            more = message.get("more_body", False)
        query = scope["query_string"].decode()
        target = scope["raw_path"].decode() + (f"?{query}" if query else "")
        headers = {name.decode(): value.decode() for name, value in scope["headers"]}
        seen = Seen(scope["method"], target, headers, body)
        self.seen.append(seen)
        status, answer = await self.handler(seen)
        await send({"type": "http.response.start", "status": status, "headers": self.reply_headers})
        await send({"type": "http.response.body", "body": answer})


class Answer(msgspec.Struct):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> tuple[int, str]:
        """Status and errorCode."""
        return self.status, self.json["errorCode"]


class Site:
    def __init__(
        self, directory: Path, *, apps: Sequence[App] = APPS, components: Sequence[Component] = (), **snapshot: Any
    ) -> None:
        self.apps = tuple(apps)
        self.frames: list[Frame] = []
        http = HttpClient()
        settings = ProxySettings(control=directory / "control", cache=directory, platform=PLATFORM, connect=connect)
        self.wiring = Wiring(http=http, apps=Apps(http), table=ReplicaTable(), send=self.frames.append)
        self.buses = Buses(settings)
        self.opened = Components(Surroundings(platform=PLATFORM, http=self.wiring.outside))
        self.runtime = Runtime(self.buses, self.opened, PLATFORM, self.wiring)
        self.listeners = HttpListeners(self.runtime)
        self.client = HttpClient()
        self.address = ""
        self.fields: dict[str, Any] = {
            "apps": self.apps,
            "components": tuple(components),
            "buses": (Bus(key=BUS, kind="memory"),),
            "routes": tuple(
                Route(key=app.key, backends=(Backend(revision=revision(app.key)),), internal=True) for app in apps
            ),
        } | snapshot
        self._generation = 0
        self._servers: list[AppServer] = []

    async def __aenter__(self) -> Self:
        self.declare()
        host, port = await self.listeners.on_address("127.0.0.1", 0)
        self.address = f"{host}:{port}"
        for link in (self.buses.link(bus.key) for bus in self.fields["buses"]):
            if link is not None:
                await link.ready.wait()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.listeners.stop()
        await self.runtime.close()
        await self.opened.close()
        await self.buses.close()
        await self.wiring.apps.aclose()
        for server in self._servers:
            await server.stop()
        for client in (self.client, self.wiring.http, self.wiring.outside):
            await client.aclose()

    def declare(self, **changes: Any) -> None:
        """Make the world what the fields say, with *changes*."""
        self.fields |= changes
        snapshot = Snapshot(namespace="default", **self.fields)
        self.buses.declare(snapshot.buses)
        self.opened.declare(snapshot.components)
        self.runtime.declare([snapshot])

    async def app(self, function: Key, handler: Handler = echo, *, credit: int = 8) -> AppServer:
        """One more replica of *function*, running."""
        server = await AppServer(handler).start()
        self._servers.append(server)
        self.replicas(function, server, credit=credit)
        return server

    def replicas(self, function: Key, *servers: AppServer, credit: int = 8) -> None:
        """These, and no others, are ready."""
        self._generation += 1
        endpoints = tuple(
            Endpoint(replica=f"{function.name}-{one.address}", address=one.address, credit=credit, protocol="http")
            for one in servers
        )
        self.wiring.table.update(
            Endpoints(epoch=1, revision=revision(function), generation=self._generation, endpoints=endpoints)
        )

    async def listen(self, function: Key, port: int) -> str:
        """An address of its own for *function*."""
        self.listeners.assign([AppListener(function=function, http=f"127.0.0.1:{port}", grpc="")])
        await until(lambda: function in self.listeners._servers)
        return f"127.0.0.1:{port}"

    async def call(
        self,
        method: str,
        path: str,
        body: Any = b"",
        headers: Sequence[tuple[str, str]] = (),
        *,
        token: str | None = None,
        address: str = "",
    ) -> Answer:
        """One request as ``shop``, or with another *token* (empty: none)."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        lines = [(name.encode(), value.encode()) for name, value in headers]
        token = PLATFORM.token(SHOP) if token is None else token
        if token:
            lines.append((b"dapr-api-token", token.encode()))
        reply = await self.client.request(address or self.address, method, path, lines, raw, timeout=10)
        answer = await reply.read(64 << 20)
        return Answer(reply.status, {name.decode(): value.decode() for name, value in reply.headers}, answer)

    async def events(self, subject: str, count: int) -> list[dict[str, Any]]:
        """The first *count* events of a topic."""
        bus = self.buses.get(BUS)
        assert bus is not None
        found: list[dict[str, Any]] = []
        tail: Any = bus.tail(subject, since=datetime(2000, 1, 1, tzinfo=UTC))
        async with asyncio.timeout(5), contextlib.aclosing(tail):
            while len(found) < count:
                found.append(json.loads((await anext(tail)).payload))
        return found


__all__ = [
    "APPS",
    "BUS",
    "PLATFORM",
    "SHOP",
    "STORE",
    "Answer",
    "AppServer",
    "Seen",
    "Site",
    "Subscription",
    "component",
    "until",
]
