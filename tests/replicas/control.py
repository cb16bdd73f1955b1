"""Both ends of a control stream on a real socket, and a handler that keeps what it hears."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from api.frames import Assign, Close, Closed, Config, Endpoint, Endpoints, Listen, Refused, Reopen
from api.meta import Key, RevisionKey
from api.model import Backend, Route, Snapshot
from replicas.client import ControlClient
from replicas.server import ControlServer

REVISION = RevisionKey("default", "hello", "00001")
SNAPSHOT = Snapshot(
    namespace="default",
    digest="sha256:1",
    routes=(Route(key=Key("default", "hello"), backends=(Backend(revision=REVISION),)),),
)


def endpoint(replica: str, credit: int = 1) -> Endpoint:
    return Endpoint(replica=replica, address=f"unix:/run/{replica}.sock", credit=credit)


async def until(probe: Callable[[], Any]) -> Any:
    """Let the loop turn until *probe* holds; ten seconds end a test that would hang."""
    async with asyncio.timeout(10):
        while not (found := probe()):  # noqa: ASYNC110 - what is observed lives on the other end
            await asyncio.sleep(0.001)
    return found


class Handler:
    """Answers Close with *answer*: ``closed``, ``refused``, or nothing at all."""

    def __init__(self, answer: str = "closed") -> None:
        self.answer = answer
        self.heard: list[Any] = []
        self.client: ControlClient | None = None
        self.connects = self.disconnects = 0

    def on_config(self, config: Config) -> None:
        self.heard.append(config)

    def on_assign(self, assign: Assign) -> None:
        self.heard.append(assign)

    def on_listen(self, listen: Listen) -> None:
        self.heard.append(listen)

    def on_endpoints(self, endpoints: Endpoints) -> None:
        self.heard.append(endpoints)

    def on_close(self, close: Close) -> None:
        self.heard.append(close)
        assert self.client is not None
        answers = {"closed": Closed, "refused": Refused}
        if self.answer in answers:
            self.client.send(
                answers[self.answer](revision=close.revision, generation=close.generation, replicas=close.replicas)
            )

    def on_reopen(self, reopen: Reopen) -> None:
        self.heard.append(reopen)

    def on_connected(self) -> None:
        self.connects += 1

    def on_disconnected(self) -> None:
        self.disconnects += 1

    def last(self, type_: type[Any]) -> Any:
        return next((frame for frame in reversed(self.heard) if isinstance(frame, type_)), None)


@asynccontextmanager
async def agent(
    path: Path, cache: Path, name: str = "gateway-0", answer: str = "closed"
) -> AsyncIterator[tuple[ControlClient, Handler]]:
    handler = Handler(answer)
    handler.client = ControlClient(path, "gateway", name, f"boot-{name}", handler, cache)
    task = asyncio.create_task(handler.client.run())
    try:
        yield handler.client, handler
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def controller(path: Path, epoch: int = 1) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, epoch, lambda: None, lambda _: None)
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
