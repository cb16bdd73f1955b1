"""An event that comes while the owner goes to sleep is never missed: many rounds at changing moments."""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from eventbus.bus import EventBus
from tests.brokers import start_nats
from tests.contract.harness import Broker, Owner, event

pytestmark = pytest.mark.broker
ROUNDS = int(os.environ.get("DOORBELL_ROUNDS", "2000"))
SEED = int(os.environ.get("FAULT_SEED", "20261121"))
MANY = 500
"""Rounds after which the owner's progress is written."""


def test_no_event_is_missed_however_it_meets_the_bell(tmp_path: Path) -> None:
    server = start_nats(tmp_path, "os")
    broker = Broker("nats", server.options, server)
    chance = random.Random(SEED)
    print(f"FAULT_SEED={SEED} rounds {ROUNDS}")

    async def test(bus: EventBus) -> None:
        other = await broker.connect()
        owner = await Owner.open(bus, broker.subscription())
        rung = asyncio.Event()
        for number in range(ROUNDS):
            rung.clear()
            publish = asyncio.create_task(other.publish("topic", event(number)))
            for _ in range(chance.randrange(40)):
                await asyncio.sleep(0)
            if not await owner.intake.arm(rung.set):
                async with asyncio.timeout(5):
                    await rung.wait()
            await owner.intake.disarm()
            await publish
            (taken,) = await owner.take(1)
            if number % MANY == 0:
                await owner.intake.commit(0, taken.seq, [])

    async def main() -> None:
        bus = await broker.connect()
        try:
            await test(bus)
        finally:
            for one in broker._open:
                await one.close()

    try:
        asyncio.run(main())
    finally:
        server.stop()
