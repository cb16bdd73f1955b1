"""The server on a real socket: keep-alive, pipelines, streams, limits, malformed requests, drain."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

import pytest

from functions_framework.app import App
from functions_framework.server import Server
from tests.functions_framework.harness import app

HANDLERS = """
    import asyncio
    import functions_framework as ff

    gate = asyncio.Event()
    entered = asyncio.Event()

    @ff.http
    async def view(request, context):
        if request.path == "/wait":
            entered.set()
            await gate.wait()
        if request.path == "/stream":
            return numbers()
        if request.path == "/broken":
            return broken()
        if request.path == "/split":
            return "x", 200, {"X-A": "a"}
        return request.get_data() or request.path

    async def numbers():
        for n in range(5):
            yield f"{n},"

    async def broken():
        yield "some"
        raise RuntimeError("no more")
"""


class Peer:
    """A client that sends bytes and reads replies."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, data: str | bytes) -> None:
        self.writer.write(data.encode("latin-1") if isinstance(data, str) else data)

    async def reply(self) -> tuple[int, dict[str, str], bytes]:
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status, *lines = head.strip().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        if headers.get("transfer-encoding") == "chunked":
            return int(status.split()[1]), headers, await self._chunks()
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(status.split()[1]), headers, body

    async def _chunks(self) -> bytes:
        body = b""
        while size := int((await self.reader.readuntil(b"\r\n")).strip(), 16):
            body += await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)
        return body

    async def get(self, path: str) -> tuple[int, dict[str, str], bytes]:
        self.send(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n")
        return await self.reply()


@pytest.fixture
def serving(tmp_path):
    """Serve HANDLERS and run a coroutine with (server, peer)."""

    def run(work: Callable[[Server, Peer], Coroutine[Any, Any, Any]], **settings: Any) -> Any:
        application: App = app(tmp_path, HANDLERS)

        async def main() -> Any:
            server = Server(application, **settings)
            listener = socket.create_server(("127.0.0.1", 0))
            await server.start([listener])
            peer = Peer(*await asyncio.open_connection(*listener.getsockname()))
            try:
                async with asyncio.timeout(10):
                    return await work(server, peer)
            finally:
                peer.writer.close()
                application.loaded.module.gate.set()
                await server.drain()

        return asyncio.run(main())

    return run


def test_connections_are_kept_and_pipelines_answered_in_order(serving):
    async def work(_server, peer):
        peer.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        return [await peer.reply(), await peer.reply(), await peer.get("/c")]

    assert [body for _, _, body in serving(work)] == [b"/a", b"/b", b"/c"]


def test_bodies_come_with_a_length_or_in_chunks(serving):
    async def work(_server, peer):
        peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel")
        peer.send("lo")
        whole = await peer.reply()
        peer.send(
            "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;ext=1\r\nde\r\n0\r\n\r\n"
        )
        chunked = await peer.reply()
        peer.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
        interim = await peer.reader.readuntil(b"\r\n\r\n")
        peer.send("ok")
        return whole[2], chunked[2], interim, (await peer.reply())[2]

    assert serving(work) == (b"hello", b"abcde", b"HTTP/1.1 100 Continue\r\n\r\n", b"ok")


def test_a_stream_is_sent_in_chunks_and_the_connection_kept(serving):
    async def work(_server, peer):
        return await peer.get("/stream"), await peer.get("/after")

    (status, headers, body), after = serving(work)
    assert (status, headers["transfer-encoding"], body) == (200, "chunked", b"0,1,2,3,4,")
    assert after[2] == b"/after"


def test_a_stream_that_breaks_off_never_looks_whole(serving):
    async def work(_server, peer):
        peer.send("GET /broken HTTP/1.1\r\nHost: x\r\n\r\n")
        return await peer.reader.read()

    found = serving(work)
    assert b"some" in found or found == b""
    assert not found.endswith(b"0\r\n\r\n")


def test_http_1_0_and_head_and_close(serving):
    async def work(_server, peer):
        peer.send("HEAD /a HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await peer.reader.readuntil(b"\r\n\r\n")
        peer.send("GET /b HTTP/1.0\r\n\r\n")
        return head, await peer.reader.read()

    head, old = serving(work)
    assert b"content-length: 2" in head
    assert b"connection: close" in old
    assert old.endswith(b"\r\n\r\n/b")


BAD = [
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n", 400),
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0x5\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: b\x00c\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA\xe9: b\r\n\r\n", 400),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    ("CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    ("nonsense\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: x\r\nA: " + "x" * 70_000 + "\r\n\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: x\r\n" + "A: b\r\n" * 1000 + "\r\n", 431),
    ("GET /" + "x" * 70_000 + " HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n", 413),
    ("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + "x" * 1001, 413),
]


@pytest.mark.parametrize(("sent", "status"), BAD)
def test_malformed_requests_get_one_answer_and_the_connection_ends(serving, sent, status):
    async def work(_server, peer):
        peer.send(sent)
        return await peer.reply(), await peer.reader.read()

    (found, headers, body), rest = serving(work, max_body=1000)
    assert (found, headers["connection"], rest) == (status, "close", b"")
    assert b"\n" not in body


def test_a_request_that_does_not_arrive_is_given_up(serving):
    async def work(server, peer):
        await peer.get("/before")
        peer.send("GET / HTTP/1.1\r\nHost")
        (connection,) = server.settings.connections
        connection.expire()
        return await peer.reply(), await peer.reader.read()

    (status, _, _), rest = serving(work)
    assert (status, rest) == (408, b"")


def test_draining_finishes_what_runs_and_refuses_the_rest(serving):
    async def work(server, peer):
        module = server.app.loaded.module
        address = peer.writer.get_extra_info("peername")
        other = Peer(*await asyncio.open_connection(*address))
        await other.get("/warm")
        peer.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await module.entered.wait()
        draining = asyncio.create_task(server.drain())
        await asyncio.sleep(0)
        refused = await other.get("/late")
        module.gate.set()
        finished = await peer.reply()
        other.writer.close()
        return refused, finished, await draining

    refused, finished, status = serving(work)
    assert (refused[0], refused[1]["evoke-not-started"], refused[1]["connection"]) == (503, "1", "close")
    assert (finished[0], finished[2], status) == (200, b"/wait", 0)


def test_work_beyond_the_grace_time_is_cut_off_with_status_1(serving):
    async def work(server, peer):
        peer.send("GET /wait HTTP/1.1\r\nHost: x\r\n\r\n")
        await server.app.loaded.module.entered.wait()
        return await server.drain()

    assert serving(work, grace=timedelta(seconds=0.05)) == 1


def test_health_readiness_and_descriptor(serving):
    async def work(server, peer):
        paths = ("/healthz", "/readyz", "/dapr/config", "/dapr/subscribe", "/evoke/descriptor")
        before = [await peer.get(path) for path in paths]
        server.app.draining = True
        return before, [(await peer.get(path))[0] for path in ("/healthz", "/readyz")]

    before, draining = serving(work)
    assert [status for status, _, _ in before] == [200] * 5
    assert b'"handlers":["view (http, async)"]' in before[4][2]
    assert draining == [200, 503]
