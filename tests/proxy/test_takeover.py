"""An owner that is replaced leaves attempts behind: their keys wait for them, whatever replica they run on."""

from __future__ import annotations

import asyncio
import socket
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import msgspec

from api.frames import Endpoint, Endpoints
from functions_framework.server import Server
from proxy import takeover
from proxy.owner import Owner
from tests.functions_framework.harness import app
from tests.proxy.plant import FAST, REVISION, Answer, Plant, Replica, event, subscription, until

SLOW = subscription(delivery=msgspec.structs.replace(FAST, timeout=timedelta(seconds=30)))


class Keys:
    """A handler on any number of replicas that waits for its gate with one key, and sees what overlaps."""

    def __init__(self, held: str) -> None:
        self.held, self.gate = held, asyncio.Event()
        self.running: Counter[str] = Counter()
        self.most: Counter[str] = Counter()
        self.calls: list[tuple[str, int]] = []

    async def take(self, one: Answer) -> Answer:
        key = one["partitionkey"]
        self.running[key] += 1
        self.most[key] = max(self.most[key], self.running[key])
        self.calls.append((key, one["data"]["n"]))
        try:
            if key == self.held:
                await self.gate.wait()
            return {"status": "SUCCESS"}
        finally:
            self.running[key] -= 1


@asynccontextmanager
async def successor(plant: Plant) -> AsyncIterator[Owner]:
    """Another owner of the same subscription, while the first has attempts in flight."""
    before = plant.owner
    after = Owner(plant.subscription, lambda: plant.bus, plant.wiring, "proxy-1")
    plant.owner = after  # pokes go to it
    after.start()
    await until(lambda: after.hold is not None)
    before._stopping = True
    yield after
    await before.stop()


def test_the_key_of_an_attempt_left_behind_waits_and_the_others_go_on() -> None:
    async def scenario() -> None:
        keys = Keys("a")
        async with Plant(SLOW) as plant:
            replicas = [Replica(keys.take, credit=1, batch=0), Replica(keys.take, credit=1, batch=0)]
            await plant.scale(*replicas)
            await plant.publish(event(1, key="a"))
            await until(lambda: keys.running["a"])
            async with successor(plant) as after:
                await plant.publish(event(2, key="a"), *(event(n, key="b") for n in range(3, 9)))
                await until(lambda: len([key for key, _ in keys.calls if key == "b"]) == 6)
                assert [number for key, number in keys.calls if key == "a"] == [1]

                keys.gate.set()
                await until(lambda: after.hold is not None and not after.hold.held)
            assert [number for key, number in keys.calls if key == "a"] == [1, 1, 2]
            assert keys.most["a"] == 1

    asyncio.run(scenario())


def test_a_replica_that_is_gone_runs_nothing() -> None:
    async def scenario() -> None:
        keys = Keys("a")
        async with Plant(SLOW) as plant:
            first, second = Replica(keys.take), Replica(keys.take)
            await plant.scale(first)
            await plant.publish(event(1, key="a"))
            await until(lambda: keys.running["a"])
            await first.kill()
            async with successor(plant) as after:
                keys.gate.set()
                await plant.scale(first, second)
                await until(lambda: after.hold is not None and not after.hold.held)
            assert second.numbers == [1]

    asyncio.run(scenario())


HANDLER = """
    import asyncio
    import functions_framework as ff

    running, calls, overlaps = set(), [], []
    gate = asyncio.Event()

    @ff.cloud_event
    async def handle(event):
        key = event["partitionkey"]
        calls.append((key, event.data["n"]))
        if key in running:
            overlaps.append(key)
        running.add(key)
        if key == "a":
            await gate.wait()
        running.discard(key)
"""


def test_our_framework_names_what_a_killed_owner_left_behind(tmp_path: Path) -> None:
    """The owner dies with its connection; the framework runs on, and its handler holds the key until it ends."""

    async def scenario() -> None:
        application = app(tmp_path, HANDLER)
        module, server = application.loaded.module, Server(application)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / "s"))
        listener.listen(16)
        await server.start([listener])
        async with Plant(SLOW) as plant:
            endpoint = Endpoint(replica="r", address=f"unix:{tmp_path}/s", credit=8, batch=100, ordered=True)
            plant.table.update(Endpoints(epoch=1, revision=REVISION, generation=1, endpoints=(endpoint,)))
            await plant.publish(event(1, key="a"))
            await until(lambda: module.running)
            before = plant.owner
            before._stopping = True
            await before._outflow.finish(0)  # its POSTs end without a reply
            after = Owner(plant.subscription, lambda: plant.bus, plant.wiring, "proxy-1")
            plant.owner = after
            after.start()
            await plant.publish(event(2, key="a"), event(3, key="b"), event(4, key="b"))
            await until(lambda: module.calls == [("a", 1), ("b", 3), ("b", 4)])

            module.gate.set()
            await until(lambda: module.calls[3:] == [("a", 1), ("a", 2)])
            await plant.drained()
            assert module.overlaps == []
            await before.stop()
        server.stop()
        await server.wait()

    asyncio.run(scenario())


def test_an_app_that_answers_anything_takes_deliveries_at_once() -> None:
    async def scenario() -> None:
        async with Plant(SLOW) as plant:
            replica = Replica()
            replica._told = lambda *_: ["welcome"]  # type: ignore[method-assign, assignment, return-value]  # a page for any path
            await plant.scale(replica)
            async with successor(plant):
                await plant.publish(event(1, key="a"))
                await until(lambda: replica.numbers == [1], takeover.TIMEOUT)

    asyncio.run(scenario())
