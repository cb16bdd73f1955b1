"""Raw bytes against a listening gateway: refusals, limits in size and time, pipelines, asynchronous invocations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec
import pytest

from api.model import Snapshot
from eventbus.errors import BusFull
from functions_framework.asynchronous import TYPE
from gateway.limits import Limits
from gateway.main import GatewaySettings
from gateway.main import run as run_gateway
from replicas.http import HttpClient
from tests.gateway.world import HELLO, Call, json_error, reply, run, world
from tests.replicas.control import controller

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HEAD = b"POST /function/default/hello HTTP/1.1\r\nhost: a\r\n"


async def echo(call: Call, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"[" + call.body + b"]"))


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (HEAD + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /evil HTTP/1.1\r\n\r\n", 400),
        (HEAD + b"content-length: 1\r\ncontent-length: 1\r\n\r\nx", 400),
        (HEAD + b"content-length: 99999999999\r\n\r\n", 413),
        (HEAD + b"transfer-encoding: chunked\r\n\r\nzz\r\n", 400),
        (HEAD + b"upgrade: websocket\r\nconnection: upgrade\r\n\r\n", 501),
        (HEAD + b"upgrade: h2c\r\nconnection: upgrade\r\n\r\n", 400),
        (HEAD + b"expect: magic\r\n\r\n", 417),
        (b"TRACE / HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\n", 400),
        (b"GET / HTTP/1.1\nhost: a\n\n", 400),
    ],
)
def test_bad_bytes_are_refused_closed_and_never_forwarded(tmp_path: Path, raw: bytes, status: int) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            replica = await here.replica(echo)
            found = await here.raw(raw)
            assert found.startswith(b"HTTP/1.1 %d " % status)
            assert b"connection: close" in found
            assert found.count(b"HTTP/1.1") == 1
            assert not [call for call in replica.calls if call.body]

    run(scenario())


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(echo)
            one = HEAD + b"content-length: 1\r\n\r\n1"
            two = HEAD + b"transfer-encoding: chunked\r\n\r\n1;x\r\n2\r\n0\r\n\r\n"
            three = HEAD + b"connection: close\r\ncontent-length: 1\r\n\r\n3"
            found = await here.raw(b"\r\n" + one + two + three)
            assert [part[:3] for part in found.split(b"\r\n\r\n")[1:]] == [b"[1]", b"[2]", b"[3]"]

    run(scenario())


def test_an_expectation_is_met(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(echo)
            found = await here.raw(HEAD + b"expect: 100-continue\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx")
            assert found.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 ")

    run(scenario())


def test_the_old_version_gets_a_reply_that_ends_with_the_connection(tmp_path: Path) -> None:
    async def chunked(_: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(chunked)
            found = await here.raw(b"GET /function/default/hello HTTP/1.0\r\n\r\n")
            assert found.endswith(b"\r\n\r\nabc")
            assert b"transfer-encoding" not in found

    run(scenario())


def test_a_body_is_cut_at_the_limit(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(body=1000)) as here:
            await here.replica(echo)
            exact = await here.fetch(method="POST", body=b"x" * 1000)
            assert exact == (200, b"[" + b"x" * 1000 + b"]")
            assert (await here.fetch(method="POST", body=b"x" * 1001))[0] == 413
            chunk = b"100\r\n" + b"x" * 256 + b"\r\n"
            found = await here.raw(HEAD + b"transfer-encoding: chunked\r\n\r\n" + chunk * 4)
            assert found.startswith(b"HTTP/1.1 413 ")

    run(scenario())


SLOW = Limits(head_time=timedelta(milliseconds=50), body_time=timedelta(milliseconds=50))


def test_slow_heads_and_bodies_are_408(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=SLOW) as here:
            await here.replica(echo)
            assert (await here.raw(b"GET / HT")).startswith(b"HTTP/1.1 408 ")
            assert (await here.raw(HEAD + b"content-length: 9\r\n\r\nx")).startswith(b"HTTP/1.1 408 ")
            streamed = await here.raw(HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\nx\r\n")
            assert streamed.startswith(b"HTTP/1.1 408 ")

    run(scenario())


def test_an_idle_connection_is_closed(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(idle_time=timedelta(milliseconds=50))) as here:
            assert await here.raw(b"") == b""

    run(scenario())


def test_more_connections_than_allowed_are_503(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(connections=2)) as here:
            host, _, port = here.address.partition(":")
            opened = [await asyncio.open_connection(host, int(port)) for _ in range(2)]
            found = await here.raw(b"GET /healthz HTTP/1.1\r\nhost: a\r\n\r\n")
            assert found.startswith(b"HTTP/1.1 503 ")
            for _, writer in opened:
                writer.close()

    run(scenario())


def test_large_bodies_pass_with_flat_memory(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(body=64 << 20)) as here:
            received = 0

            async def count(call: Call, writer: asyncio.StreamWriter) -> None:
                nonlocal received
                while size := int(await call.reader.readline(), 16):
                    received += len(await call.reader.readexactly(size + 2)) - 2
                await call.reader.readline()
                writer.write(reply(b"x" * (8 << 20)))

            await here.replica(count, whole=False)

            async def body() -> AsyncIterator[bytes]:
                for _ in range(32):
                    yield b"y" * (1 << 20)

            status, found = await here.fetch(method="POST", body=body())
            assert (status, len(found), received) == (200, 8 << 20, 32 << 20)

    run(scenario())


def test_an_accepted_invocation_is_on_the_bus(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            response = await here.ask(
                "/async-function/default/hello/work?x=1",
                method="POST",
                headers={"x-call-id": "call-7", "x-kind": "k", "evoke-trigger": "forged"},
                body=b"\x00payload",
            )
            assert response.status == 202
            assert await response.read(1) == b""
            assert response.header(b"x-call-id") == b"call-7"
            assert response.header(b"x-start-time") is not None
            tail = here.bus.tail("evoke.async.default.hello", since=EPOCH)
            stored = msgspec.json.decode((await anext(aiter(tail))).payload)
            assert (stored["id"], stored["type"]) == ("call-7", TYPE)
            assert (stored["httpmethod"], stored["httppath"]) == ("POST", "/work?x=1")
            assert stored["data_base64"] == "AHBheWxvYWQ="
            names = {name for name, _ in msgspec.json.decode(stored["httpheaders"])}
            assert {"x-kind", "x-call-id"} <= names
            assert "evoke-trigger" not in names
            await tail.aclose()

    run(scenario())


def test_an_invocation_that_is_not_stored_is_not_accepted(tmp_path: Path) -> None:
    async def full(*_: object, **__: object) -> None:
        raise BusFull("the bus is full")

    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(queued_body=10)) as here:
            path = "/async-function/default/hello"
            assert (await here.fetch(path, method="POST", body=b"x" * 11))[0] == 413
            assert (await here.fetch(path))[0] == 405
            status, body = await here.fetch(path, method="POST", headers={"x-callback-url": "http://a"})
            assert (status, json_error(body)["code"]) == (400, "E140")
            here.bus.publish = full  # type: ignore[method-assign] # a bus that is full
            assert (await here.fetch(path, method="POST"))[0] == 507

    run(scenario())


def test_an_invocation_that_nobody_would_read_is_not_accepted(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, msgspec.structs.replace(HELLO, queued=False)) as here:
            status, body = await here.fetch("/async-function/default/hello", method="POST", body=b"x")
            assert (status, json_error(body)["code"]) == (501, "E140")

    run(scenario())


def test_the_gateways_own_pages(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            healthy = await here.ask("/healthz")
            assert (healthy.status, await healthy.read(10)) == (200, b"ok\n")
            assert parsedate_to_datetime((healthy.header(b"date") or b"").decode()).tzinfo is not None
            assert (await here.fetch("/metrics", method="POST"))[0] == 405
            page = (await here.fetch("/metrics"))[1]
            assert b'evoke_replicas_ready{function="hello",namespace="default",revision="00001"} 0.0' in page

    run(scenario())


def test_a_request_to_a_gateway_that_just_started_is_held_until_it_knows(tmp_path: Path) -> None:
    async def scenario() -> None:
        bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
        settings = GatewaySettings(http="127.0.0.1:0", control=tmp_path / "c", cache=tmp_path / "cache")
        gateway = asyncio.create_task(run_gateway(settings, bound.set_result))
        host, port = await bound
        client = HttpClient()
        ready = await client.request(f"{host}:{port}", "GET", "/readyz", [], timeout=10)
        assert (ready.status, await ready.read(100)) == (503, b"no snapshot yet\n")
        asked = asyncio.create_task(client.request(f"{host}:{port}", "GET", "/function/a/b", [], timeout=10))
        async with controller(tmp_path / "c") as server:
            server.publish(Snapshot(namespace="default"))
            assert (await asked).status == 404
        gateway.cancel()
        await asyncio.gather(gateway, return_exceptions=True)
        await client.aclose()

    run(scenario())
