"""Requests to functions through a whole gateway: routing, holding, limits, streaming, faults."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from api.frames import Want
from gateway.limits import Limits
from tests.gateway.world import HELLO, REVISION, Call, World, hello, json_error, reply, run, world
from tests.replicas.control import until


async def echo(call: Call, writer: asyncio.StreamWriter) -> None:
    writer.write(reply(f"{call.method} {call.target} ".encode() + call.body, headers="x-own: 1\r\nevoke-inner: 1\r\n"))


def test_the_prefix_is_cut_the_query_kept_and_every_method_passes(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(echo)
            assert await here.fetch("/function/default/hello") == (200, b"GET / ")
            assert await here.fetch("/function/default/hello/a/b?c=d&e=%20") == (200, b"GET /a/b?c=d&e=%20 ")
            for method in ("POST", "PUT", "PATCH", "DELETE", "OPTIONS"):
                assert await here.fetch(method=method, body=b"x") == (200, f"{method} / x".encode())
            response = await here.ask(method="HEAD")
            assert (response.status, await response.read(1)) == (200, b"")
            assert await here.fetch("/own", headers={"host": "hello.example"}) == (200, b"GET /own ")
            assert await here.fetch("/healthz", headers={"host": "hello.default.localhost:80"}) == (
                200,
                b"GET /healthz ",
            )

    run(scenario())


def test_an_unknown_function_is_404_in_one_line(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            for path in (
                "/function/default/none/",
                "/function/other/hello",
                "/function/default",
                "/",
                "/async-function/a/b",
            ):
                status, body = await here.fetch(path, method="POST")
                assert (status, json_error(body)["code"]) == (404, "not-found"), path
                assert body.count(b"\n") == 1

    run(scenario())


def test_fifty_first_requests_are_one_want_and_all_answered(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            wants: list[Want] = []
            state = here.controller.agents["gateway-0"]
            hear = state.want
            state.want = lambda want: (wants.append(want), hear(want))[1]  # type: ignore[method-assign] # a listener
            asked = [asyncio.create_task(here.ask()) for _ in range(50)]
            await until(lambda: wants)
            await until(lambda: state.readings and sum(route.waiting for route in state.readings.routes) == 50)
            await here.replica(credit=8)
            responses = await asyncio.gather(*asked)
            assert [response.status for response in responses] == [200] * 50
            assert {want.revision for want in wants} == {REVISION}
            assert len(wants) == 2  # at once for the first, and again with the readings that tell of all fifty
            assert all(response.header(b"x-evoke-cold-start-ms") is not None for response in responses)
            assert (await here.ask()).header(b"x-evoke-cold-start-ms") is None
            await until(lambda: state.readings and state.readings.routes[0].arrived == 51)
            assert [notice.kind for notice in here.notices] == ["activation"]

    run(scenario())


def test_what_clients_may_not_set_is_stripped_and_set_by_us(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            replica = await here.replica(echo)
            sent = {
                "x-forwarded-for": "1.2.3.4",
                "dapr-api-token": "t",
                "evoke-trigger": "t",
                "x-internal-user": "root",
                "content_length": "5",
                "connection": "x-hop, content-length",
                "x-hop": "1",
                "te": "trailers",
                "x-kept": "1",
                "x-request-id": "my-id-1",
            }
            response = await here.ask(method="POST", headers=sent, body=b"abc")
            received = replica.calls[0].headers
            assert received["x-forwarded-for"] == "127.0.0.1"
            assert received["x-request-id"] == "my-id-1"
            assert received["x-kept"] == "1"
            assert (
                not {"dapr-api-token", "evoke-trigger", "x-internal-user", "content_length", "x-hop", "te"}
                & received.keys()
            )
            assert response.header(b"x-request-id") == b"my-id-1"
            assert response.header(b"x-own") == b"1"
            assert response.header(b"evoke-inner") is None
            bad = await here.ask(headers={"x-request-id": "a b"})
            assert bad.header(b"x-request-id") not in {None, b"a b"}
            metrics = (await here.fetch("/metrics"))[1]
            assert b"evoke_gateway_forged_headers_total 5.0" in metrics

    run(scenario())


async def relay(call: Call, writer: asyncio.StreamWriter) -> None:
    """Send every chunk back as it comes."""
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    while (line := await call.reader.readline()) != b"0\r\n":
        writer.write(line + await call.reader.readexactly(int(line, 16) + 2))
    await call.reader.readline()
    writer.write(b"0\r\n\r\n")


def test_bodies_stream_both_ways(tmp_path: Path) -> None:
    """The first chunk of the reply is read before the last chunk of the request is sent."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(relay, whole=False)
            turn: asyncio.Queue[bytes] = asyncio.Queue()

            async def body() -> AsyncIterator[bytes]:
                while data := await turn.get():
                    yield data

            turn.put_nowait(b"first")
            response = await here.ask(method="POST", body=body())
            stream = response.stream()
            assert await anext(stream) == b"first"
            turn.put_nowait(b"second")
            assert await anext(stream) == b"second"
            turn.put_nowait(b"")
            assert [rest async for rest in stream] == []

    run(scenario())


@pytest.mark.parametrize("rest", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"nonsense\r\n\r\n"])
def test_a_broken_reply_is_502(tmp_path: Path, rest: bytes) -> None:
    async def answer(_: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(rest)
        writer.close()

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(answer)
            status, body = await here.fetch()
            assert (status, json_error(body)["code"]) == (502, "broken-reply")

    run(scenario())


def test_a_reply_that_breaks_off_is_not_taken_for_whole(tmp_path: Path) -> None:
    async def answer(_: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica(answer)
            found = await here.raw(b"GET /function/default/hello HTTP/1.1\r\nhost: a\r\n\r\n")
            assert b"hello" in found
            assert not found.endswith(b"0\r\n\r\n")

    run(scenario())


async def never(_: Call, __: asyncio.StreamWriter) -> None:
    await asyncio.Event().wait()


def test_a_function_that_does_not_answer_is_504(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, replace(HELLO, timeout=timedelta(milliseconds=50))) as here:
            replica = await here.replica(never)
            status, body = await here.fetch()
            assert (status, json_error(body)["code"]) == (504, "timeout")
            await replica.gone.wait()  # the replica sees that nobody waits any more

    run(scenario())


def test_a_request_is_held_only_so_long(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, limits=Limits(hold=timedelta(milliseconds=50))) as here:
            status, body = await here.fetch()
            assert (status, json_error(body)["code"]) == (504, "no-replica")

    run(scenario())


def test_above_the_queue_503_and_above_the_concurrency_429(tmp_path: Path) -> None:
    async def scenario(here: World, code: str, status: int) -> None:
        held = [asyncio.create_task(here.fetch()) for _ in range(2)]
        state = here.controller.agents["gateway-0"]
        await until(lambda: state.readings and sum(route.waiting for route in state.readings.routes) == 2)
        response = await here.ask()
        assert response.status == status
        assert response.header(b"retry-after") == b"1"
        assert json_error(await response.read(1000))["code"] == code
        await here.replica()
        assert await asyncio.gather(*held) == [(200, b"hello")] * 2

    async def both() -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "b").mkdir()
        async with world(tmp_path / "a", replace(HELLO, queue=2)) as here:
            await scenario(here, "queue-full", 503)
        async with world(tmp_path / "b", limits=Limits(per_function=2)) as here:
            await scenario(here, "too-many-requests", 429)

    run(both())


def test_a_client_that_leaves_cancels_its_request(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            replica = await here.replica(never)
            task = asyncio.create_task(here.ask())
            await until(lambda: replica.calls)
            task.cancel()
            await replica.gone.wait()
            assert (
                b'evoke_gateway_in_flight{function="hello",namespace="default"} 0.0'
                in (await here.fetch("/metrics"))[1]
            )

    run(scenario())


def test_a_replica_that_did_not_start_it_is_not_the_end(tmp_path: Path) -> None:
    async def no_room(_: Call, writer: asyncio.StreamWriter) -> None:
        writer.write(reply(b"", "503 Service Unavailable", "evoke-not-started: 1\r\n"))

    async def scenario() -> None:
        async with world(tmp_path) as here:
            full = await here.replica(no_room, tell=False)
            dead = await here.replica(tell=False)
            await dead.stop()
            await here.replica()
            for _ in range(6):
                assert await here.fetch(method="POST", body=b"x") == (200, b"hello")
            assert len(full.calls) >= 1

    run(scenario())


def test_a_function_that_never_was_ready_is_503(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, replace(HELLO, backends=())) as here:
            status, body = await here.fetch()
            assert (status, json_error(body)["code"]) == (503, "not-ready")

    run(scenario())


def test_a_replica_without_room_is_no_cold_start(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            tries = 0

            async def answer(call: Call, writer: asyncio.StreamWriter) -> None:
                nonlocal tries
                tries += 1
                if tries < 3:
                    writer.write(reply(b"", "503 Service Unavailable", "evoke-not-started: 1\r\n"))
                else:
                    await hello(call, writer)

            await here.replica(answer)
            response = await here.ask()
            assert (response.status, tries) == (200, 3)
            assert response.header(b"x-evoke-cold-start-ms") is None
            assert not here.controller.agents["gateway-0"].wants

    run(scenario())
