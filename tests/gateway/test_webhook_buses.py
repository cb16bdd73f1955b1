"""Deliveries to webhooks whose bus is away, full, or never was there."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
import pytest

from api.meta import SecretKeyRef
from api.model import Bus, Option
from api.platform import LOOPBACK, spare
from eventbus.errors import BusFull, TooLarge, Unreachable
from eventbus.jetstream.bus import JetStreamBus
from tests.brokers import Nats
from tests.gateway.hooks import BUS, PATH, hook, reading, serve
from tests.gateway.world import World, run, world


def test_nothing_is_accepted_that_the_bus_did_not_store(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with world(tmp_path, interval=timedelta(milliseconds=20)) as here:
            await serve(here, hook())
            await reading(here, lambda one: one.connected)
            bus = here.bus
            works, answers = bus.publish, []
            for error in (Unreachable("no broker"), BusFull("full"), TooLarge("large")):

                async def fails(*_: object, why: Exception = error, **__: object) -> None:
                    raise why

                bus.publish = fails  # type: ignore[method-assign] # the broker's answer is the test
                response = await here.ask(PATH, method="POST", body=b"x")
                answers.append((response.status, response.header(b"retry-after")))
                await response.read(1000)
            assert answers == [(503, b"1"), (507, b"5"), (413, None)]
            bus.publish = works  # type: ignore[method-assign] # as above
            assert (await here.fetch(PATH, method="POST", body=b"x"))[0] == 202
            seen = await reading(here, lambda one: one.published)
            assert (seen.connected, seen.received, seen.published) == (True, 4, 1)

    run(scenario())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, "ConnectionRefused"),
        ({"password": SecretKeyRef(name="s", key="k")}, "SecretNotFound"),
        ({"retain": "many"}, "Unreachable"),
    ],
)
def test_a_bus_that_never_was_there(tmp_path: Path, options: dict[str, Option], wanted: str) -> None:
    """Whatever is wrong with the bus, deliveries are answered and the gateway goes on."""

    async def scenario() -> None:
        bus = Bus(key=BUS, kind="nats", options={"url": f"nats://{LOOPBACK}:{spare()}", **options})
        async with world(tmp_path, bus=bus, interval=timedelta(milliseconds=20)) as here:
            await serve(here, hook())
            seen = await reading(here, lambda one: not one.connected)
            assert seen.reason == wanted
            assert (await here.fetch(PATH, method="POST", body=b"x"))[0] == 503
            assert not here.gateway.done()

    run(scenario())


@pytest.mark.broker
def test_what_was_accepted_survives_a_killed_broker(tmp_path: Path) -> None:
    """A real broker is killed between deliveries: each is answered in time, and each 202 is an event that is stored."""
    broker = Nats(tmp_path)

    async def deliver(here: World, number: int) -> int:
        answer = await here.fetch(PATH, method="POST", headers={"idempotency-key": str(number)}, body=b"x")
        return answer[0]

    async def accepted(here: World, numbers: range) -> set[str]:
        async with asyncio.timeout(15):
            statuses = await asyncio.gather(*(deliver(here, number) for number in numbers))
        assert set(statuses) <= {202, 503}
        return {str(number) for number, status in zip(numbers, statuses, strict=True) if status == 202}

    async def scenario() -> None:
        await asyncio.to_thread(broker.start)
        bus = Bus(key=BUS, kind="nats", options=dict(broker.options))
        async with world(tmp_path, bus=bus, interval=timedelta(milliseconds=20)) as here:
            await serve(here, hook())
            stored = await accepted(here, range(50))
            assert len(stored) == 50
            deliveries = asyncio.create_task(accepted(here, range(50, 100)))
            await asyncio.to_thread(broker.kill)
            assert (await reading(here, lambda one: not one.connected)).reason
            stored |= await deliveries
            await asyncio.to_thread(broker.start)
            await reading(here, lambda one: one.connected)
            assert await deliver(here, 100) == 202
            there = JetStreamBus(bus, str)
            await there.connect()
            tail = there.tail("default.hooks.push", since=datetime(1970, 1, 1, tzinfo=UTC))
            found: set[str] = set()
            async for event in tail:
                found.add(msgspec.json.decode(event.payload)["id"])
                if "100" in found:
                    break
            await tail.aclose()
            await there.close()
            assert stored <= found

    try:
        run(scenario())
    finally:
        broker.stop()
