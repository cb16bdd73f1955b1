"""The HTTP client against real sockets whose server writes exact bytes."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from replicas.errors import BrokenReply, ConnectFailed, ReplicaError, ReplyTimeout, ReplyTooLarge
from replicas.http import HttpClient, Response

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def listening(serve: Serve, path: Path | None) -> AsyncIterator[str]:
    """Serve each connection with *serve*, on a Unix socket at *path* or on TCP; yields the address."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    if path is not None:
        server = await asyncio.start_unix_server(run, path)
        address = f"unix:{path}"
    else:
        server = await asyncio.start_server(run, "127.0.0.1", 0)
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield address
    finally:
        server.close()
        await server.wait_closed()
        await asyncio.sleep(0)  # transports close in the next turn of the loop


def answering(reply: bytes, *, close: bool = True) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        if not close:
            await reader.read()

    return serve


async def exchange(serve: Serve, path: Path, *, seconds: float = 10, limit: int = 1 << 20) -> tuple[Response, bytes]:
    client = HttpClient()
    async with listening(serve, path) as address:
        try:
            response = await client.request(address, "POST", "/", [], b"x", timeout=seconds)
            return response, await response.read(limit)
        finally:
            await client.aclose()


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


BROKEN = [
    b"",
    b"HTTP/1.1 200",
    b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nabc",
    b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nabc",
    b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\na",
    b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"x: " + b"y" * (70 << 10) + b"\r\n",
]


@pytest.mark.parametrize("reply", BROKEN, ids=range(len(BROKEN)))
def test_a_broken_reply_is_told_apart(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(BrokenReply):
        asyncio.run(exchange(answering(reply), tmp_path / "s"))


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


def test_nobody_listening_is_not_started(tmp_path: Path) -> None:
    async def scenario(address: str) -> None:
        with pytest.raises(ConnectFailed):
            await HttpClient().request(address, "GET", "/", [], timeout=5)

    asyncio.run(scenario(f"unix:{tmp_path}/absent"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refused
        asyncio.run(scenario(f"127.0.0.1:{taken.getsockname()[1]}"))


def test_a_listener_that_closes_unread_is_not_started_one_that_read_is_broken(tmp_path: Path) -> None:
    async def scenario(error: type[ReplicaError], name: str, *, read: bool) -> None:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / name))
        listener.listen()
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        request = asyncio.create_task(
            HttpClient().request(f"unix:{tmp_path / name}", "POST", "/", [], b"x" * 100, timeout=5)
        )
        accepted, _ = await loop.sock_accept(listener)
        first = await loop.sock_recv(accepted, 1 if not read else 1 << 16)
        assert first
        accepted.close()
        with pytest.raises(error):
            await request
        listener.close()

    asyncio.run(scenario(ConnectFailed, "unread", read=False))
    asyncio.run(scenario(BrokenReply, "read", read=True))


def test_a_reset_over_tcp_may_have_started(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async def scenario() -> None:
        async with listening(serve, None) as address:
            with pytest.raises(BrokenReply):
                await HttpClient().request(address, "POST", "/", [], b"x", timeout=5)

    asyncio.run(scenario())


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nabc"])
def test_the_time_limit_covers_head_and_body(tmp_path: Path, reply: bytes) -> None:
    with pytest.raises(ReplyTimeout):
        asyncio.run(exchange(answering(reply, close=False), tmp_path / "s", seconds=0.05))


def test_a_reply_above_the_limit_is_cut(tmp_path: Path) -> None:
    reply = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n" + b"x" * 100
    with pytest.raises(ReplyTooLarge):
        asyncio.run(exchange(answering(reply), tmp_path / "s", limit=99))


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
