"""A runtime with its gRPC API, and HTTP enough for SDKs to find it healthy; the test plays the controller."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from api.frames import AppListener
from api.meta import Key, RevisionKey
from api.model import App, Backend, Bus, Component, Option, Snapshot, Subscription
from api.platform import Platform, spare
from eventbus.connect import connect
from proxy.buses import Buses
from proxy.components.components import Components
from proxy.components.surroundings import Surroundings
from proxy.dapr.runtime import Runtime
from proxy.dapr_grpc.api import GrpcApi
from proxy.settings import ProxySettings
from proxy.subscriptions import Subscriptions
from proxy.wiring import Wiring
from replicas.http import HttpClient
from replicas.table import ReplicaTable
from tests.proxy.plant import FAST, until

T = TypeVar("T")
PLATFORM = Platform(
    http="127.0.0.1:1", mqtt="127.0.0.1:1", nats="127.0.0.1:1", dapr="127.0.0.1:1", nats_user="u", nats_password="p",
    key="00" * 32,
)  # fmt: skip
SHOP, STORE = Key("default", "shop"), Key("default", "store")
BUS = Key("default", "events")


def component(type_: str, name: str, metadata: dict[str, Option] | None = None, **changes: Any) -> Component:
    return Component(key=Key("default", name), type=type_, version="v1", metadata=metadata or {}, **changes)


APPS = (App(key=SHOP, id="shop", protocol="http"), App(key=STORE, id="store", protocol="grpc"))


class Site:
    def __init__(
        self,
        directory: Path,
        *,
        apps: Sequence[App] = APPS,
        components: Sequence[Component] = (),
        place: Path | None = None,
    ) -> None:
        self.apps = {app.key: app for app in apps}
        self.components, self.subscriptions_declared = tuple(components), tuple[Subscription, ...]()
        self._declared_buses: tuple[Bus, ...] = (Bus(key=BUS, kind="memory"),)
        settings = ProxySettings(control=directory / "control", cache=directory, platform=PLATFORM, connect=connect)
        self.wiring = Wiring(http=HttpClient(), table=ReplicaTable(), send=lambda _frame: True, spread=lambda: 0.0)
        self.streams = self.wiring.streams
        self.buses = Buses(settings)
        self.opened = Components(Surroundings(http=self.wiring.http))
        self.runtime = Runtime(self.buses, self.opened, PLATFORM, self.wiring)
        self.grpc = GrpcApi(self.runtime, self.streams, place)
        self.subscriptions = Subscriptions(self.wiring, self.buses, "proxy-0", directory)
        self.shared = ""
        self.own: dict[Key, str] = {}
        self._health: asyncio.Server | None = None
        self.http = ""

    async def __aenter__(self) -> Self:
        self.declare()
        host, port = await self.grpc.on_address("127.0.0.1", 0)
        self.shared = f"{host}:{port}"
        self.own = {key: f"127.0.0.1:{spare()}" for key in self.apps}
        await self.grpc.assign([AppListener(function=key, http="", grpc=where) for key, where in self.own.items()])
        self._health = await asyncio.start_server(_healthy, "127.0.0.1", 0)
        self.http = f"127.0.0.1:{self._health.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.subscriptions.close()
        await self.grpc.stop()
        await self.runtime.close()
        await self.opened.close()
        await self.buses.close()
        await self.wiring.http.aclose()
        await self.wiring.outside.aclose()
        assert self._health is not None
        self._health.close()

    def declare(self, **changes: Any) -> None:
        """Make the world what the fields say, with *changes* to the snapshot."""
        snapshot = Snapshot(
            namespace="default",
            apps=tuple(self.apps.values()),
            components=self.components,
            buses=self._declared_buses,
            subscriptions=self.subscriptions_declared,
        )
        snapshot = msgspec.structs.replace(snapshot, **changes)
        self.buses.declare(snapshot.buses)
        self.opened.declare(snapshot.components)
        self.runtime.declare([snapshot])
        declared = {one.key: one for one in snapshot.subscriptions}
        self.buses.openings.declare(declared.values())
        self.subscriptions.assign(declared, list(declared), ["default"])
        self.grpc.declared()

    async def answer_streams(self) -> None:
        """As the controller: make a subscription of whatever an app asks for by a stream."""
        while True:
            for reading in self.streams.readings(self.subscriptions_declared):
                self.subscriptions_declared += (streamed(reading.function, reading.subscription.topic),)
            if any(one.key not in self.subscriptions._owners for one in self.subscriptions_declared):
                self.declare()
            await asyncio.sleep(0.005)

    def token(self, key: Key) -> str:
        return PLATFORM.token(key)

    async def sdk(self, work: Callable[[], T], *, environment: dict[str, str] | None = None) -> T:
        """Run *work*, which blocks, with the environment of a replica of ``shop``."""
        told = {
            "DAPR_HTTP_ENDPOINT": f"http://{self.http}",
            "DAPR_HTTP_PORT": self.http.rpartition(":")[2],
            "DAPR_RUNTIME_HOST": "127.0.0.1",
            "DAPR_GRPC_PORT": self.own[SHOP].rpartition(":")[2],
            **(environment or {}),
        }
        with variables(told):
            return await asyncio.to_thread(work)


def streamed(function: Key, topic: str, **changes: Any) -> Subscription:
    fields: dict[str, Any] = {
        "key": Key(function.namespace, f"{function.name}.stream.{topic}"),
        "bus": BUS,
        "subject": topic,
        "group": f"{function.name}.stream",
        "trigger": function.name,
        "form": "stream",
        "backends": (Backend(revision=RevisionKey(function.namespace, function.name, "00001")),),
        "delivery": FAST,
    }
    return Subscription(**(fields | changes))


@contextmanager
def variables(told: dict[str, str]) -> Iterator[None]:
    """The environment with *told*, for SDKs that read nothing else."""
    before = {name: os.environ.get(name) for name in told}
    os.environ.update(told)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


async def _healthy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


__all__ = ["APPS", "BUS", "SHOP", "STORE", "Site", "component", "streamed", "until"]
