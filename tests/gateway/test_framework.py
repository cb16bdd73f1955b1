"""The gateway in front of our own framework: a real handler, keep-alive, streams, and the way of an invocation."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

from api.frames import Endpoint
from functions_framework.app import App
from functions_framework.loader import load
from functions_framework.server import Server
from tests.gateway.world import REVISION, World, run, world

SOURCE = """
import asyncio
import functions_framework as ff

go = asyncio.Event()
seen = []

@ff.http
async def main(request):
    if request.path == "/go":
        go.set()
        return "gone"
    if request.path == "/seen":
        return {"seen": seen}
    if request.path == "/stream":
        async def body():
            yield b"first"
            await go.wait()
            yield b"last"
        return body()
    text = request.get_data(as_text=True)
    seen.append([request.method, request.full_path, text, request.headers.get("X-Request-Id")])
    return {"path": request.path, "host": request.host}, 201, {"X-Own": "1"}
"""


@asynccontextmanager
async def function(here: World) -> AsyncIterator[str]:
    """Serve SOURCE on a Unix socket and tell the gateway of it."""
    source = here.folder / "main.py"
    source.write_text(SOURCE)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(here.folder / "function.sock"))
    address = f"unix:{here.folder / 'function.sock'}"
    server = Server(App(load(str(source), "main"), {}))
    await server.start([listener])
    here.controller.endpoints(REVISION, [Endpoint(replica="f", address=address, credit=32)])
    try:
        yield address
    finally:
        await server.drain()


def test_a_handler_behind_the_gateway(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here, function(here):
            for _ in range(3):
                response = await here.ask("/function/default/hello/a?b=c", method="POST", body=b"x")
                assert response.status == 201
                assert response.header(b"x-own") == b"1"
                assert await response.read(1000) == b'{"host":"localhost","path":"/a"}\n'

    run(scenario())


def test_the_first_chunk_comes_before_the_handler_ends(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here, function(here):
            response = await here.ask("/function/default/hello/stream")
            stream = response.stream()
            assert await anext(stream) == b"first"
            assert (await here.fetch("/function/default/hello/go"))[0] == 200
            assert [part async for part in stream] == [b"last"]

    run(scenario())


def test_an_invocation_runs_as_the_request_it_was(tmp_path: Path) -> None:
    """What the gateway stores is what the framework's invocation path takes."""

    async def scenario() -> None:
        async with world(tmp_path) as here, function(here) as address:
            sent = await here.ask(
                "/async-function/default/hello/work?x=1", method="POST", headers={"x-request-id": "r7"}, body=b"payload"
            )
            assert sent.status == 202
            tail = here.bus.tail("evoke.async.default.hello", since=datetime(1970, 1, 1, tzinfo=UTC))
            event = (await anext(aiter(tail))).payload
            await tail.aclose()
            delivered = await here.client.request(
                address,
                "POST",
                "/__evoke/invocation",
                [(b"content-type", b"application/cloudevents+json"), (b"evoke-trigger", b"t"), (b"evoke-epoch", b"1")],
                event,
                timeout=10,
            )
            assert (delivered.status, b"SUCCESS" in await delivered.read(1000)) == (200, True)
            _, seen = await here.fetch("/function/default/hello/seen")
            assert b'["POST","/work?x=1","payload","r7"]' in seen.replace(b", ", b",")

    run(scenario())
