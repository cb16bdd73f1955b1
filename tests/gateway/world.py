"""A gateway between a real controller's end of the control stream and replicas that answer as a test says."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from api.frames import Endpoint, Notice
from api.meta import Key, RevisionKey
from api.model import Backend, Bus, Option, Route, Snapshot, Source
from eventbus.bus import EventBus
from eventbus.connect import connect as connect_to
from eventbus.memory.bus import MemoryBus
from gateway.limits import Limits
from gateway.main import GatewaySettings, as_written
from gateway.main import run as run_gateway
from gateway.outbox import Resolve
from replicas.http import HttpClient, Response
from replicas.server import ControlServer

REVISION = RevisionKey("default", "hello", "00001")
HELLO = Route(key=Key("default", "hello"), hosts=("hello.example",), backends=(Backend(revision=REVISION),))
MEMORY = Bus(key=Key("default", "default"), kind="memory")
FAST = Limits(hold=timedelta(seconds=20))


class Call:
    """One request as a replica received it."""

    def __init__(self, line: str, headers: dict[str, str], reader: asyncio.StreamReader) -> None:
        self.method, self.target, _ = line.split(" ")
        self.headers, self.reader, self.body = headers, reader, b""

    async def read(self) -> None:
        """Take the whole body."""
        if "content-length" in self.headers:
            self.body = await self.reader.readexactly(int(self.headers["content-length"]))
        elif "transfer-encoding" in self.headers:
            while size := int(await self.reader.readline(), 16):
                self.body += (await self.reader.readexactly(size + 2))[:-2]
            await self.reader.readline()


Answer = Callable[[Call, asyncio.StreamWriter], Awaitable[None]]


def reply(body: bytes, status: str = "200 OK", headers: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n{headers}\r\n".encode() + body


async def hello(_: Call, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"hello"))


class Replica:
    """An HTTP server on a Unix socket that lets *answer* write whatever bytes it likes.

    With *whole* it reads the request's body first.
    """

    def __init__(self, path: Path, answer: Answer = hello, *, whole: bool = True) -> None:
        self.path, self.answer, self.whole = path, answer, whole
        self.calls: list[Call] = []
        self.gone = asyncio.Event()
        """Set when a client closed its connection."""
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        self._server = await asyncio.start_unix_server(self._serve, self.path)

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
            await self._server.wait_closed()
            await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task: asyncio.Task[None] | None = None
        try:
            while True:
                call = await read_call(reader)
                if self.whole:
                    await call.read()
                self.calls.append(call)
                task = asyncio.create_task(self.answer(call, writer))
                if not self.whole:
                    await task
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self.gone.set()
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            writer.close()


async def read_call(reader: asyncio.StreamReader) -> Call:
    line, *lines = (await reader.readuntil(b"\r\n\r\n"))[:-4].decode("latin-1").split("\r\n")
    return Call(line, {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}, reader)


class World:
    """What a test holds: the controller's end, the gateway's address, and a client."""

    def __init__(self, folder: Path, controller: ControlServer, address: str, bus: MemoryBus) -> None:
        self.folder, self.controller, self.address, self.bus = folder, controller, address, bus
        self.declared = MEMORY
        self.notices: list[Notice] = []
        self.gateway: asyncio.Task[None]
        self.client = HttpClient()
        self.replicas: list[Replica] = []

    async def replica(
        self, answer: Answer = hello, *, credit: int = 10, tell: bool = True, whole: bool = True
    ) -> Replica:
        """Start a replica and, with *tell*, let the gateway know of it."""
        made = Replica(self.folder / f"r{len(self.replicas)}.sock", answer, whole=whole)
        await made.start()
        self.replicas.append(made)
        if tell:
            self.tell(credit=credit)
        return made

    def tell(self, *, credit: int = 10) -> None:
        """Report every replica of this world as ready."""
        self.controller.endpoints(
            REVISION,
            [Endpoint(replica=made.path.stem, address=f"unix:{made.path}", credit=credit) for made in self.replicas],
        )

    def publish(self, *routes: Route, sources: tuple[Source, ...] = ()) -> None:
        self.controller.publish(Snapshot(namespace="default", routes=routes, buses=(self.declared,), sources=sources))

    async def ask(
        self,
        path: str = "/function/default/hello/",
        *,
        method: str = "GET",
        headers: dict[str, str] | None = None,
        body: bytes | AsyncIterator[bytes] = b"",
    ) -> Response:
        lines = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        return await self.client.request(self.address, method, path, lines, body, timeout=30)

    async def fetch(self, path: str = "/function/default/hello/", **options: object) -> tuple[int, bytes]:
        response = await self.ask(path, **options)  # type: ignore[arg-type] # passed through as they came
        return response.status, await response.read(64 << 20)

    async def raw(self, data: bytes) -> bytes:
        """Everything the gateway says to these bytes until it closes."""
        host, _, port = self.address.partition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(data)
        with contextlib.suppress(ConnectionError):
            found = await asyncio.wait_for(reader.read(), 20)
        writer.close()
        return found

    async def configured(self) -> None:
        while (await self.fetch("/readyz"))[0] != 200:  # noqa: ASYNC110 - what is observed is the other end
            await asyncio.sleep(0.002)


@asynccontextmanager
async def world(
    folder: Path,
    *routes: Route,
    limits: Limits = FAST,
    interval: timedelta = timedelta(seconds=20),
    resolve: Resolve = as_written,
    bus: Bus | None = None,
) -> AsyncIterator[World]:
    """A gateway that knows *routes* (HELLO unless told) and no replica; its bus is in memory unless *bus* is given."""
    notices: list[Notice] = []
    controller = ControlServer(folder / "control.sock", 1, lambda: None, notices.append)
    await controller.start()
    memory = MemoryBus(MEMORY, str)

    def connect(declared: Bus, resolve: Callable[[Option], str]) -> EventBus:
        return memory if declared.kind == "memory" else connect_to(declared, resolve)

    bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
    settings = GatewaySettings(
        http="127.0.0.1:0",
        control=folder / "control.sock",
        cache=folder / "cache",
        limits=limits,
        interval=interval,
        connect=connect,
        resolve=resolve,
    )
    gateway = asyncio.create_task(run_gateway(settings, bound.set_result))
    host, port = await bound
    made = World(folder, controller, f"{host}:{port}", memory)
    made.declared = bus or MEMORY
    made.notices, made.gateway = notices, gateway
    made.publish(*(routes or (HELLO,)))
    await made.configured()
    try:
        yield made
    finally:
        await made.client.aclose()
        gateway.cancel()
        await asyncio.gather(gateway, return_exceptions=True)
        await controller.stop()
        for replica in made.replicas:
            await replica.stop()


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine; thirty seconds end one that would hang."""
    asyncio.run(asyncio.wait_for(scenario, 30))


def json_error(body: bytes) -> dict[str, str]:
    return msgspec.json.decode(body, type=dict[str, dict[str, str]])["error"]
