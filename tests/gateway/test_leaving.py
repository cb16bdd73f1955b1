"""Replicas and revisions that go while requests run or wait for them."""

from __future__ import annotations

import asyncio
from pathlib import Path

from msgspec.structs import replace

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
