"""The HTTP client against real sockets: framing, kept connections, streams."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replicas.errors import ConnectFailed
from replicas.http import HttpClient
from tests.certificates import authority
from tests.replicas.listening import answering, exchange, listening


@pytest.mark.parametrize("unix", [True, False])
def test_connections_are_kept_and_requests_say_their_length(tmp_path: Path, unix: bool) -> None:
    connections, heads = 0, []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            heads.append(await reader.readuntil(b"\r\n\r\n"))
            body = await reader.readexactly(3)
            writer.write(b"HTTP/1.1 200 OK\r\nX-Name: v\r\ncontent-length: 3\r\n\r\n" + body)

    async def scenario() -> None:
        client = HttpClient()
        async with listening(serve, tmp_path / "s" if unix else None) as address:
            for _ in range(3):
                response = await client.request(address, "POST", "/a?b=c", [(b"k", b"v")], b"abc", timeout=5)
                assert response.status == 200
                assert response.header(b"x-name") == b"v"
                assert await response.read(10) == b"abc"
            assert connections == 1
            assert heads[0] == b"POST /a?b=c HTTP/1.1\r\nk: v\r\nhost: localhost\r\ncontent-length: 3\r\n\r\n"
            together = [client.request(address, "POST", "/", [], b"abc", timeout=5) for _ in range(4)]
            assert [await response.read(10) for response in await asyncio.gather(*together)] == [b"abc"] * 4
            assert connections == 4
            await client.aclose()

    asyncio.run(scenario())


REPLIES = [
    (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n2;e=1\r\nde\r\n0\r\n\r\n", b"abcde"),
    (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\na", b"a"),
    (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
    (b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nall of it", b"all of it"),
    (b"HTTP/1.0 200 OK\r\n\r\nold", b"old"),
]


@pytest.mark.parametrize(("reply", "body"), REPLIES)
def test_every_framing_of_a_reply_is_read(tmp_path: Path, reply: bytes, body: bytes) -> None:
    assert asyncio.run(exchange(answering(reply), tmp_path / "s"))[1] == body


def test_a_reply_to_head_has_no_body_and_keeps_the_connection(tmp_path: Path) -> None:
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")

    async def scenario() -> None:
        client = HttpClient()
        async with listening(serve, tmp_path / "s") as address:
            for _ in range(2):
                response = await client.request(address, "HEAD", "/", [], timeout=5)
                assert response.header(b"content-length") == b"1000"
                assert await response.read(10) == b""
            assert connections == 1
            await client.aclose()

    asyncio.run(scenario())


def test_bodies_stream_both_ways_in_step(tmp_path: Path) -> None:
    """Each side waits for the other's chunk before it sends its next: nothing is gathered on the way."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert b"transfer-encoding: chunked" in head
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while (line := await reader.readline()) != b"0\r\n":
            data = await reader.readexactly(int(line, 16) + 2)
            writer.write(line + data)
        await reader.readline()
        writer.write(b"0\r\n\r\n")

    async def scenario() -> None:
        turn: asyncio.Queue[bytes] = asyncio.Queue()

        async def body() -> AsyncIterator[bytes]:
            while data := await turn.get():
                yield data

        client = HttpClient()
        async with listening(serve, tmp_path / "s") as address:
            response = await client.request(address, "POST", "/", [], body(), timeout=10)
            stream = response.stream()
            for data in (b"one", b"two"):
                turn.put_nowait(data)
                assert await anext(stream) == data
            turn.put_nowait(b"")
            assert [rest async for rest in stream] == []
            await client.aclose()

    asyncio.run(scenario())


def test_a_slow_reader_stops_the_replica(tmp_path: Path) -> None:
    sent = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(64):
            writer.write(b"x" * (1 << 20))
            await writer.drain()
            sent += 1

    async def scenario() -> int:
        client = HttpClient()
        async with listening(serve, tmp_path / "s") as address:
            response = await client.request(address, "POST", "/", [], timeout=30)
            before = -1
            while before != sent:  # until the replica stands still
                before = sent
                await asyncio.sleep(0.05)
            stopped = sent
            assert sum([len(data) async for data in response.stream()]) == 64 << 20
            await client.aclose()
        return stopped

    assert asyncio.run(scenario()) < 8


def test_who_gives_up_closes_the_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        seen: asyncio.Queue[bytes] = asyncio.Queue()

        async def serve(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            seen.put_nowait(b"request")
            seen.put_nowait(await reader.read())

        async with listening(serve, tmp_path / "s") as address:
            task = asyncio.create_task(HttpClient().request(address, "GET", "/", [], timeout=None))
            assert await seen.get() == b"request"
            task.cancel()
            assert await seen.get() == b""

    asyncio.run(scenario())


def test_a_line_break_never_leaves_in_a_header() -> None:
    with pytest.raises(ValueError, match="line break"):
        asyncio.run(HttpClient().request("unix:/none", "GET", "/", [(b"a", b"b\r\nc: d")], timeout=1))


def test_a_long_reply_that_nobody_reads_does_not_stop_the_next_one(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 300000\r\n\r\n" + b"x" * 300_000)

    async def scenario() -> None:
        client = HttpClient()
        async with listening(serve, tmp_path / "s") as address:
            for _ in range(3):
                response = await client.request(address, "GET", "/", [], timeout=5)
                async with asyncio.timeout(5):
                    while not response.complete:  # noqa: ASYNC110 - what is observed is the socket
                        await asyncio.sleep(0.001)
            await client.aclose()

    asyncio.run(scenario())


def test_tls_addresses_are_verified_by_name(tmp_path: Path) -> None:
    issuer = authority(tmp_path / "ca")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for name, text in zip(("crt", "key"), issuer.issue("127.0.0.1"), strict=True):
        (tmp_path / name).write_text(text)
    context.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    reply = answering(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def scenario() -> None:
        trusting = HttpClient(tls=lambda: ssl.create_default_context(cadata=issuer.ca), denied=lambda _address: "")
        async with listening(reply, None, context) as address:
            response = await trusting.request(f"tls:{address}", "POST", "/", [], b"x", timeout=5)
            assert await response.read(10) == b"ok"
            with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await HttpClient().request(f"tls:{address}", "POST", "/", [], b"x", timeout=5)
            other = f"tls:localhost:{address.rpartition(':')[2]}"
            with pytest.raises(ConnectFailed, match="CERTIFICATE_VERIFY_FAILED"):
                await trusting.request(other, "POST", "/", [], b"x", timeout=5)
            await trusting.aclose()

    asyncio.run(scenario())


def test_what_a_host_resolves_to_may_be_denied(tmp_path: Path) -> None:
    asked: list[str] = []

    def denied(address: str) -> str:
        asked.append(address)
        return "nobody is told" if address == "127.0.0.1" else "not this family"

    async def scenario() -> None:
        client = HttpClient(denied=denied)
        async with listening(answering(b""), None) as address:
            port = address.rpartition(":")[2]
            with pytest.raises(ConnectFailed, match="localhost: "):
                await client.request(f"localhost:{port}", "POST", "/", [], b"x", timeout=5)
        assert "127.0.0.1" in asked

    asyncio.run(scenario())
