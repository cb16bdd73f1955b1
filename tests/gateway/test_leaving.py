"""Replicas and revisions that go while requests run or wait for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

from gateway.main import GatewaySettings
from gateway.main import run as run_gateway
from tests.gateway.world import HELLO, REVISION, Call, hello, run, world
from tests.replicas.control import until


def test_the_last_replica_goes_only_when_nothing_is_in_flight(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            release = asyncio.Event()

            async def answer(call: Call, writer: asyncio.StreamWriter) -> None:
                await release.wait()
                await hello(call, writer)

            replica = await here.replica(answer)
            running = asyncio.create_task(here.fetch())
            await until(lambda: replica.calls)
            assert not await here.controller.close(REVISION, ["r0"], last=True, timeout=10)

            draining = asyncio.create_task(here.controller.close(REVISION, ["r0"], last=False, timeout=10))
            await until(lambda: here.controller.agents["gateway-0"].readings)
            assert not draining.done()
            release.set()
            assert await running == (200, b"hello")
            assert await draining

            waiting = asyncio.create_task(here.fetch())
            await until(lambda: here.controller.agents["gateway-0"].wants)  # work after Closed wakes again
            await here.replica()
            here.controller.endpoints(REVISION, [])
            here.tell()
            assert (await waiting)[0] == 200

    run(scenario())


def test_a_request_held_for_a_revision_that_goes_moves_to_the_new_one(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(
            tmp_path,
            replace(HELLO, backends=(replace(HELLO.backends[0], revision=replace(REVISION, revision="00000")),)),
        ) as here:
            waiting = asyncio.create_task(here.fetch())
            await until(lambda: here.controller.agents["gateway-0"].wants)
            await here.replica()
            here.publish(HELLO)
            assert await waiting == (200, b"hello")

    run(scenario())


def test_the_gateway_goes_on_without_its_controller(tmp_path: Path) -> None:
    """First the running one, then one that starts with nothing but what the other left on disk."""

    async def scenario() -> None:
        async with world(tmp_path) as here:
            await here.replica()
            assert await here.fetch() == (200, b"hello")
            await here.controller.stop()
            assert await here.fetch() == (200, b"hello")
            await until((tmp_path / "cache" / "_endpoints.json").exists)

            bound: asyncio.Future[tuple[str, int]] = asyncio.get_running_loop().create_future()
            settings = GatewaySettings(http="127.0.0.1:0", control=tmp_path / "none", cache=tmp_path / "cache")
            second = asyncio.create_task(run_gateway(settings, bound.set_result))
            host, port = await bound
            found = await here.client.request(f"{host}:{port}", "GET", "/function/default/hello", [], timeout=10)
            assert await found.read(10) == b"hello"
            second.cancel()
            await asyncio.gather(second, return_exceptions=True)

    run(scenario())


def test_running_requests_end_before_the_gateway_does(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path) as here:
            release = asyncio.Event()

            async def answer(call: Call, writer: asyncio.StreamWriter) -> None:
                await release.wait()
                await hello(call, writer)

            replica = await here.replica(answer)
            running = asyncio.create_task(here.fetch())
            await until(lambda: replica.calls)
            here.gateway.cancel()
            await asyncio.sleep(0)
            release.set()
            assert await running == (200, b"hello")

    run(scenario())
