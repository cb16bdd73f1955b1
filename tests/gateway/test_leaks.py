"""After any mixture of faults nothing stays counted: no request, no credit, no waiter."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from replicas.errors import ReplicaError
from tests.gateway.world import REVISION, Answer, Call, World, hello, reply, run, world
from tests.replicas.control import until


def faulty(dice: random.Random) -> Answer:
    async def answer(call: Call, writer: asyncio.StreamWriter) -> None:
        match dice.randrange(8):
            case 0:
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf")
                writer.close()
            case 1:
                writer.close()
            case 2:
                writer.write(reply(b"", "503 Service Unavailable", "evoke-not-started: 1\r\n"))
            case 3:
                writer.write(b"nonsense\r\n\r\n")
                writer.close()
            case 4:
                writer.write(reply(b"x" * 400_000))
            case 5:
                await asyncio.sleep(dice.random() / 50)
                await hello(call, writer)
            case _:
                await hello(call, writer)

    return answer


async def one(here: World, dice: random.Random) -> None:
    async def body() -> AsyncIterator[bytes]:
        for _ in range(dice.randrange(5)):
            yield b"y" * dice.randrange(1, 100_000)
            await asyncio.sleep(0)

    sent = dice.choice([b"", b"x" * 100, b"x" * 200_000, body()])
    asked = asyncio.create_task(here.fetch(method="POST", body=sent))
    if dice.random() < 0.3:
        await asyncio.sleep(dice.random() / 100)
        asked.cancel()
    with contextlib.suppress(ReplicaError, asyncio.CancelledError):
        await asked


@pytest.mark.parametrize("seed", [1, 2])
def test_nothing_stays_counted(tmp_path: Path, seed: int) -> None:
    async def scenario() -> None:
        dice = random.Random(seed)
        print("seed", seed)
        async with world(tmp_path) as here:
            for _ in range(3):
                await here.replica(faulty(dice), credit=4)
            for _ in range(5):
                await asyncio.gather(*(one(here, dice) for _ in range(40)))
            state = here.controller.agents["gateway-0"]
            await until(lambda: state.readings and not any(r.in_flight or r.waiting for r in state.readings.routes))
            await until(lambda: state.readings and not state.readings.used)
            page = (await here.fetch("/metrics"))[1]
            assert b'evoke_gateway_in_flight{function="hello",namespace="default"} 0.0' in page
            assert await here.controller.close(REVISION, ["r0", "r1", "r2"], last=True, timeout=10)

    run(scenario())
