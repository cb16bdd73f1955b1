"""Handlers that outlive their deadlines, in a replica of the real framework: when their keys may run again."""

from __future__ import annotations

import asyncio
import socket
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from api.delivery import DeliveryPolicy
from api.frames import Endpoint, Endpoints
from functions_framework.app import App
from functions_framework.loader import load
from functions_framework.server import Server
from tests.proxy.plant import FAST, REVISION, Plant, Replica, event, subscription, until

SOURCE = """
import threading
import functions_framework as ff

gate = threading.Event()
seen = []

@ff.cloud_event
def handle(event, context):
    seen.append((event.data["n"], context.attempt))
    if event.data.get("poison"):
        gate.wait(60)
"""
QUICK: DeliveryPolicy = msgspec.structs.replace(FAST, timeout=timedelta(seconds=0.2))


@asynccontextmanager
async def framework(directory: Path, concurrency: int) -> AsyncIterator[tuple[Any, Endpoint]]:
    """A replica of the framework in this process: its module and its endpoint."""
    (directory / "main.py").write_text(SOURCE)
    with tempfile.TemporaryDirectory(prefix="evk") as short, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{short}/s")
        server = Server(App(load(directory / "main.py", "", concurrency=concurrency), {}))
        await server.start([listener])
        module = server.app.loaded.module
        try:
            yield module, Endpoint(replica="real", address=f"unix:{short}/s", credit=concurrency, batch=100)
        finally:
            module.gate.set()
            await server.drain()


def serve(plant: Plant, *endpoints: Endpoint) -> None:
    plant.generation += 1
    plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=plant.generation, endpoints=endpoints))


def test_a_late_thread_is_retried_once_it_is_known_to_have_ended(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with Plant(subscription(delivery=QUICK)) as plant, framework(tmp_path, 2) as (module, endpoint):
            serve(plant, endpoint)
            await plant.publish(event(1, key="a", poison=True), event(2, key="a"), event(3, key="b"))
            await until(lambda: plant.wiring.stuck)
            assert plant.wiring.stuck == {"real": 1}
            assert module.seen == [(1, 1), (3, 1)]
            assert plant.notices("attempt-failed") == []

            module.gate.set()
            await plant.drained()
            assert module.seen == [(1, 1), (3, 1), (1, 2), (2, 1)]
            assert not plant.wiring.stuck

    asyncio.run(scenario())


def test_who_ran_beside_a_stuck_handler_is_not_charged_for_the_end_of_the_replica() -> None:
    async def hang(_event: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(60)
        return {"status": "SUCCESS"}

    async def scenario() -> None:
        async with Plant() as plant:
            doomed, fresh = Replica(hang, batch=1), Replica(batch=1)
            await plant.scale(doomed)
            await plant.publish(event(1), event(2))
            await until(lambda: len(doomed.running) == 2)
            plant.wiring.condemned.append(doomed.id)  # another owner's event is stuck there
            await doomed.kill()
            await plant.scale(fresh)
            await plant.drained()
            assert fresh.attempts == {"1": 1, "2": 1}

    asyncio.run(scenario())


def test_a_new_owner_finds_the_places_that_an_old_one_lost(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with framework(tmp_path, 1) as (module, endpoint):
            async with Plant(subscription(delivery=QUICK)) as before:
                serve(before, endpoint)
                await before.publish(event(1, poison=True))
                await until(lambda: module.seen)
                await until(
                    lambda: before.owner.hold and any(one.state == "unknown" for one in before.owner.hold.windows[0])
                )
            async with Plant() as after:
                serve(after, endpoint)
                await after.publish(event(2))
                await until(lambda: after.wiring.stuck)
                assert module.seen == [(1, 1)]

    asyncio.run(scenario())
