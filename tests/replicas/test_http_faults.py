"""What the HTTP client says when a reply does not come: not started, broken, or too late."""

from __future__ import annotations

import asyncio
import socket
import struct
from pathlib import Path

import pytest

from replicas.errors import BrokenReply, ConnectFailed, ReplicaError, ReplyTimeout, ReplyTooLarge
from replicas.http import HttpClient
from tests.replicas.listening import answering, exchange, listening

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
