"""A proxy's owner with real parts around it: a bus, and replicas that are real HTTP servers on Unix sockets."""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

from api.delivery import Backoff, DeliveryPolicy
from api.frames import Endpoint, Endpoints, Frame
from api.meta import Key, RevisionKey
from api.model import Backend, Bus, Join, Subscription
from eventbus.bus import EventBus
from eventbus.memory.bus import MemoryBus
from proxy.owner import Owner
from proxy.wiring import Wiring
from replicas.http import HttpClient
from replicas.table import ReplicaTable

REVISION = RevisionKey("default", "on-reading", "00001")
SUBJECT = "default.fleet.telemetry"
FAST = DeliveryPolicy(max_attempts=3, backoff=Backoff(initial=timedelta(milliseconds=5)))
_numbers = itertools.count(1)

Answer = dict[str, Any]
Handler = Callable[[Answer], Awaitable[Answer | int | None]]
"""Takes one event; answers the status object, an HTTP status, or None: close without a reply."""


def subscription(**changes: Any) -> Subscription:
    fields: dict[str, Any] = {
        "key": Key("default", "on-reading.telemetry"),
        "bus": Key("default", "default"),
        "subject": SUBJECT,
        "group": "on-reading",
        "trigger": "on-reading",
        "backends": (Backend(revision=REVISION),),
        "delivery": FAST,
        "start": "all",
    }
    return Subscription(**(fields | changes))


def event(number: int, key: str = "", **data: Any) -> bytes:
    members = {"specversion": "1.0", "id": str(number), "source": "/test", "type": "t", "data": {"n": number, **data}}
    if key:
        members["partitionkey"] = key
    return json.dumps(members).encode()


async def succeed(_event: Answer) -> Answer:
    return {"status": "SUCCESS"}


async def until(condition: Callable[[], object], seconds: float = 5.0) -> None:
    """Let the loop run until *condition* holds; fails after *seconds*."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, of any part
            await asyncio.sleep(0.001)


class Replica:
    """HTTP/1.1 on a Unix socket, speaking the application protocol; records what it was sent."""

    def __init__(self, handler: Handler = succeed, *, credit: int = 32, batch: int = 100, ordered: bool = True) -> None:
        self.handler = handler
        self.id = f"r{next(_numbers)}"
        self.path = Path(tempfile.mkdtemp(prefix="evk")) / "s"
        self.endpoint = Endpoint(
            replica=self.id, address=f"unix:{self.path}", credit=credit, batch=batch, ordered=ordered
        )
        self.events: list[Answer] = []
        self.headers: list[dict[str, str]] = []
        self.batches: list[int] = []
        self.attempts: dict[str, int] = {}
        self.running: dict[str, int] = {}
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def start(self) -> Replica:
        self._server = await asyncio.start_unix_server(self._serve, self.path)
        return self

    async def kill(self) -> None:
        """As kill -9: connections end, and the address refuses."""
        assert self._server is not None
        self._server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        self.path.unlink(missing_ok=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while await self._exchange(reader, writer):
                pass
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
        body = await reader.readexactly(int(headers.get("content-length", 0)))
        if head[0].startswith("GET"):
            return await self._reply(writer, 200, json.dumps(self._told(head[0], headers)).encode())
        self.headers.append(headers)
        message = json.loads(body)
        if message.get("type") == "com.dapr.event.sent.bulk":
            answer = await self._bulk(message, headers["evoke-epoch"])
        else:
            self.batches.append(1)
            answer = await self._one(message, int(headers["evoke-attempt"]), headers["evoke-epoch"])
        if answer is None:
            return False
        if isinstance(answer, int):
            return await self._reply(writer, answer, b"")
        return await self._reply(writer, 200, json.dumps(answer).encode())

    def _told(self, line: str, headers: dict[str, str]) -> Answer:
        """What a replica of our framework answers to its owners' questions."""
        if " /evoke/fence " not in line:
            return {}
        owned = [name.partition("/") for name, count in self.running.items() if count]
        return {"keys": [key for epoch, _, key in owned if int(epoch) < int(headers["evoke-epoch"])]}

    async def _reply(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> bool:
        extra = {409: "evoke-epoch: 99\r\n", 503: "evoke-not-started: 1\r\n"}.get(status, "")
        writer.write(f"HTTP/1.1 {status} X\r\n{extra}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True

    async def _bulk(self, message: Answer, epoch: str) -> Answer | int | None:
        entries = message["entries"]
        self.batches.append(len(entries))
        statuses: list[Answer] = []
        failed: set[str] = set()
        for entry in entries:
            key = entry["event"].get("partitionkey", "")
            if key and key in failed:
                continue
            answer = await self._one(entry["event"], int(entry.get("metadata", {}).get("evoke-attempt", 1)), epoch)
            if not isinstance(answer, dict):
                return answer
            if answer["status"] != "SUCCESS":
                failed.add(key)
            statuses.append({"entryId": entry["entryId"], **answer})
        return {"statuses": statuses}

    async def _one(self, one: Answer, attempt: int, epoch: str) -> Answer | int | None:
        key = f"{epoch}/{one.get('partitionkey') or one['id']}"
        self.running[key] = self.running.get(key, 0) + 1
        assert self.running[key] == 1, f"key {key} is in flight twice"
        try:
            self.attempts[one["id"]] = attempt
            answer = await self.handler(one)
            self.events.append(one)
            return answer
        finally:
            self.running[key] -= 1

    @property
    def numbers(self) -> list[int]:
        return [one["data"]["n"] for one in self.events]


class Plant:
    """One owner on one bus; the test plays the controller."""

    def __init__(
        self, sub: Subscription | None = None, bus: EventBus | None = None, *, joins: tuple[Join, ...] = ()
    ) -> None:
        self.subscription = sub or subscription()
        self.bus = bus or MemoryBus(Bus(key=self.subscription.bus, kind="memory"), str)
        self.frames: list[Frame] = []
        self.table = ReplicaTable()
        self.wiring = Wiring(
            http=HttpClient(),
            table=self.table,
            send=self.frames.append,
            spread=lambda: 0.0,
            bus=lambda _key: self.bus,
            join=lambda key: next((one for one in joins if one.key == key), None),
        )
        self.owner = Owner(self.subscription, lambda: self.bus, self.wiring, "proxy-0")
        self.table.subscribe(lambda _revision: self.owner.poke())
        self.generation = 0
        self._started: list[Replica] = []

    async def __aenter__(self) -> Self:
        await self.bus.connect()
        self.owner.start()
        await until(lambda: self.owner.hold is not None)
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.owner.stop()
        await self.wiring.http.aclose()
        await self.wiring.outside.aclose()
        for replica in self._started:
            await replica.kill()

    async def scale(self, *replicas: Replica) -> None:
        """These, and no others, are ready."""
        for replica in replicas:
            if replica not in self._started:
                await replica.start()
                self._started.append(replica)
        self.generation += 1
        endpoints = tuple(replica.endpoint for replica in replicas)
        self.table.update(Endpoints(epoch=1, revision=REVISION, generation=self.generation, endpoints=endpoints))

    async def publish(self, *payloads: bytes, key: str = "") -> None:
        for payload in payloads:
            await self.bus.publish(SUBJECT, payload, key=key)

    @property
    def reading(self) -> Any:
        (reading,) = self.owner.readings()
        return reading

    async def drained(self, seconds: float = 5.0) -> None:
        """Everything that was published is done, and written."""
        await until(lambda: not self.reading.blind and self.reading.lag == 0, seconds)
        async with asyncio.timeout(seconds):
            while await self.bus.lag(self.subscription):  # noqa: ASYNC110 - the bus has no event for it
                await asyncio.sleep(0.001)

    async def letters(self) -> list[Any]:
        return [letter async for letter in self.bus.dead_letters(self.subscription.key)]

    def notices(self, kind: str) -> list[str]:
        return [frame.message for frame in self.frames if getattr(frame, "kind", "") == kind]  # type: ignore[attr-defined]
