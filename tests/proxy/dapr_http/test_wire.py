"""Bytes that are no request, or nearly one: each is answered or its connection closed, and the next one is served."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.platform import spare
from tests.proxy.dapr_http.site import PLATFORM, SHOP, Site, until

TOKEN = f"dapr-api-token: {PLATFORM.token(SHOP)}\r\n"
POST = f"POST /v1.0/publish/events/t HTTP/1.1\r\nhost: x\r\n{TOKEN}"


async def exchange(site: Site, data: bytes) -> bytes:
    """What comes back until the connection closes, or the first line of an answer."""
    host, _, port = site.address.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    try:
        async with asyncio.timeout(5):
            return await reader.readline()
    except ConnectionError:
        return b""
    finally:
        writer.close()


@pytest.mark.parametrize(
    ("request_", "statuses"),
    [
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", {"400", ""}),
        ("CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n", {"400", "401", ""}),
        (f"TRACE /v1.0/metadata HTTP/1.1\r\nhost: x\r\n{TOKEN}\r\n", {"405"}),
        (f"{POST}content-length: 1\r\ncontent-length: 2\r\n\r\nxx", {"400"}),
        (f"{POST}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", {"400"}),
        (f"{POST}content-length: +1\r\n\r\nx", {"400"}),
        (f"{POST}transfer-encoding: xchunked\r\n\r\n", {"400"}),
        (f"{POST}transfer-encoding: chunked\r\n\r\n0x1\r\nx\r\n0\r\n\r\n", {"400", "204"}),
        (f"{POST}x-null: a\0b\r\ncontent-length: 0\r\n\r\n", {"400"}),
        (f"{POST}bad name: x\r\n\r\n", {"400"}),
        ("GET http://[::1 HTTP/1.1\r\n\r\n", {"400", ""}),
        ("GET / HTTP/9.9\r\n\r\n", {"400", "401", "404"}),
        ("\r\n\r\n\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", {"400", ""}),
        (f"{POST}upgrade: h2c\r\nconnection: upgrade, http2-settings\r\ncontent-length: 1\r\n\r\nx", {"204", "400"}),
        (f"{POST}expect: 100-continue\r\ncontent-length: 1\r\n\r\nx", {"100"}),
        (f"POST /v1.0/publish/events/t HTTP/1.0\r\n{TOKEN}content-length: 1\r\n\r\nx", {"204"}),
        (f"{POST}range: bytes=0-1,2-3\r\ncontent-length: 1\r\n\r\nx", {"204"}),
        (f"{POST}x: {'y' * 40_000}\r\ncontent-length: 1\r\n\r\nx", {"431"}),
        (POST + "".join(f"h{number}: {number}\r\n" for number in range(5000)) + "\r\n", {"431"}),
        (POST + f"x: {'y' * (2 << 20)}", {""}),
    ],
)  # fmt: skip
def test_each_has_its_answer(tmp_path: Path, request_: str, statuses: set[str]) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            line = (await exchange(site, request_.encode("latin-1"))).decode()
            assert (line.split(" ")[1] if line else "") in statuses
            assert (await site.call("POST", "/v1.0/publish/events/t", b"x")).status == 204

    asyncio.run(scenario())


def test_a_connection_without_a_request_is_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.serving.IDLE", 0.01)

    async def scenario() -> None:
        async with Site(tmp_path) as site:
            assert await exchange(site, b"") == b""

    asyncio.run(scenario())


def test_requests_in_a_row_on_one_connection(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            host, _, port = site.address.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            one = f"{POST}content-length: 1\r\n\r\nx".encode()
            writer.write(one * 20)
            async with asyncio.timeout(5):
                for _ in range(20):
                    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 204")
            writer.close()
            assert len(await site.events("t", 20)) == 20

    asyncio.run(scenario())


def test_an_address_that_is_taken_away_ends_its_connections(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Site(tmp_path) as site:
            own = await site.listen(SHOP, spare())
            host, _, port = own.rpartition(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            request = b"GET /v1.0/metadata HTTP/1.1\r\nhost: x\r\n\r\n"
            writer.write(request)
            async with asyncio.timeout(5):
                assert (await reader.readline()).startswith(b"HTTP/1.1 200")
                site.listeners.assign([])
                await until(lambda: not site.listeners._servers)
                await reader.read()  # to its end
            writer.close()
            with pytest.raises(ConnectionError):
                await asyncio.open_connection(host, int(port))

    asyncio.run(scenario())
