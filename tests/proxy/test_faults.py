"""Faults between JetStream and replicas: nothing acknowledged is lost, and keys keep their order."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import msgspec
import pytest

from api.model import Bus
from eventbus.bus import EventBus
from eventbus.connect import connect
from proxy.owner import Owner
from tests.brokers import Nats, start_nats
from tests.proxy.plant import FAST, SUBJECT, Answer, Plant, Replica, event, subscription, until

pytestmark = pytest.mark.broker

PATIENT = msgspec.structs.replace(FAST, max_attempts=50)
KEYS = 16


class Ledger:
    """First success of every event, by key."""

    def __init__(self) -> None:
        self.first: dict[str, list[int]] = {}
        self.seen: set[int] = set()
        self.calls = 0

    async def take(self, one: Answer) -> Answer:
        self.calls += 1
        await asyncio.sleep(0.0005)
        number = one["data"]["n"]
        if number not in self.seen:
            self.seen.add(number)
            self.first.setdefault(one["partitionkey"], []).append(number)
        return {"status": "SUCCESS"}

    def check(self, acknowledged: set[int]) -> None:
        assert acknowledged <= self.seen
        for key, numbers in self.first.items():
            assert numbers == sorted(numbers), key


def bus_of(nats: Nats) -> EventBus:
    return connect(Bus(key=subscription().bus, kind="nats", options=dict(nats.options)), str)


async def publish(bus: EventBus, numbers: range, acknowledged: set[int]) -> None:
    for n in numbers:
        await bus.publish(SUBJECT, event(n, key=f"k{n % KEYS}"), dedupe=str(n))
        acknowledged.add(n)


def test_server_killed_and_restarted(tmp_path: Path) -> None:
    async def scenario() -> None:
        nats = await asyncio.to_thread(start_nats, tmp_path)
        ledger, acknowledged = Ledger(), set[int]()
        publisher = bus_of(nats)
        try:
            async with Plant(subscription(delivery=PATIENT), bus_of(nats)) as plant:
                await plant.scale(Replica(ledger.take))
                await publisher.connect()
                await publish(publisher, range(300), acknowledged)
                await until(lambda: len(ledger.seen) > 150)
                await asyncio.to_thread(nats.restart, signal.SIGKILL)
                await until(lambda: publisher.connected, 20)
                await publish(publisher, range(300, 600), acknowledged)
                await until(lambda: len(ledger.seen) == 600, 20)
                ledger.check(acknowledged)
                assert ledger.calls - len(ledger.seen) <= 32
                await plant.drained(10)
        finally:
            await publisher.close()
            await plant.bus.close()
            await asyncio.to_thread(nats.stop)

    asyncio.run(scenario())


def test_takeovers_while_events_flow(tmp_path: Path) -> None:
    async def scenario() -> None:
        nats = await asyncio.to_thread(start_nats, tmp_path)
        ledger, acknowledged = Ledger(), set[int]()
        publisher = bus_of(nats)
        buses = [publisher]
        try:
            async with Plant(subscription(delivery=PATIENT), bus_of(nats)) as plant:
                buses.append(plant.bus)
                replica = Replica(ledger.take)
                await plant.scale(replica)
                await publisher.connect()
                flow = asyncio.create_task(publish(publisher, range(800), acknowledged))
                for number in range(1, 4):
                    await until(lambda wanted=number * 100: len(ledger.seen) > wanted)  # type: ignore[misc] # binds now
                    before, bus = plant.owner, bus_of(nats)
                    buses.append(bus)
                    await bus.connect()
                    plant.owner = Owner(plant.subscription, lambda bus=bus: bus, plant.wiring, f"proxy-{number}")  # type: ignore[misc] # binds now
                    plant.owner.start()
                    await until(lambda: plant.owner.hold is not None)
                    await until(lambda owner=before: owner.hold.over)  # type: ignore[misc] # binds now
                    await before.stop()
                await flow
                await publish(publisher, range(800, 801), acknowledged)  # one that only the last owner can deliver
                await until(lambda: len(ledger.seen) == 801, 20)
                ledger.check(acknowledged)
                await plant.drained(10)
                assert plant.owner.hold is not None
                assert replica.headers[-1]["evoke-epoch"] == str(plant.owner.hold.intake.epoch)
        finally:
            for bus in buses:
                await bus.close()
            await asyncio.to_thread(nats.stop)

    asyncio.run(scenario())


def test_replicas_killed_while_events_flow(tmp_path: Path) -> None:
    async def scenario() -> None:
        nats = await asyncio.to_thread(start_nats, tmp_path)
        ledger, acknowledged = Ledger(), set[int]()
        publisher = bus_of(nats)
        try:
            async with Plant(subscription(delivery=PATIENT), bus_of(nats)) as plant:
                replicas = [Replica(ledger.take) for _ in range(3)]
                await plant.scale(*replicas)
                await publisher.connect()
                flow = asyncio.create_task(publish(publisher, range(600), acknowledged))
                for number in range(1, 4):
                    await until(lambda wanted=number * 100: len(ledger.seen) > wanted)  # type: ignore[misc] # binds now
                    await replicas[0].kill()  # the controller hears of it later than the proxy
                    replicas = [*replicas[1:], Replica(ledger.take)]
                    await asyncio.sleep(0.05)
                    await plant.scale(*replicas)
                await flow
                await until(lambda: len(ledger.seen) == 600, 20)
                ledger.check(acknowledged)
                await plant.drained(10)
                assert [letter async for letter in plant.bus.dead_letters(plant.subscription.key)] == []
        finally:
            await publisher.close()
            await plant.bus.close()
            await asyncio.to_thread(nats.stop)

    asyncio.run(scenario())
