"""A full topic, on the backends that have a limit of their own, and what trimming drops."""

from __future__ import annotations

import asyncio

import pytest

from eventbus.bus import EventBus
from eventbus.errors import BusError, BusFull
from tests.contract.harness import Broker, Owner, event, fill, fill_up, ids, settled


def test_a_full_topic_refuses_outsiders_and_still_takes_outputs(limited: Broker) -> None:
    limited.options["maxBytes"] = str(100_000)

    async def test(bus: EventBus) -> None:
        stored = await fill_up(bus)
        with pytest.raises(BusFull):
            await bus.publish("topic", event(1000, size=1000))
        await bus.publish("topic", event(stored, size=1000), output=True)
        owner = await Owner.open(bus, limited.subscription())
        events = await owner.take(stored + 1)

        assert 50 < stored < 85
        assert ids(events) == list(range(stored + 1))
        assert await fill_up(bus, output=True) > 5

    limited.run(test)


def test_a_full_topic_takes_events_again_after_trim(limited: Broker) -> None:
    limited.options |= {"maxBytes": str(100_000), "retain": "0"}

    async def test(bus: EventBus) -> None:
        subscription = limited.subscription()
        owner = await Owner.open(bus, subscription)
        events = await owner.take(await fill_up(bus))
        await owner.intake.commit(0, events[-1].seq, [])
        await settled(bus, subscription, 0)
        await bus.trim({"topic": [subscription]})
        await asyncio.sleep(0.15 if limited.kind == "nats" else 0)  # a reading of the size is used that long
        await bus.publish("topic", event(500))

        assert ids(await owner.take(1)) == [500]

    limited.run(test)


def test_trim_drops_only_what_all_have_passed(broker: Broker) -> None:
    broker.options["retain"] = "0"

    async def test(bus: EventBus) -> None:
        fast, slow = broker.subscription(), broker.subscription(group="slow")
        never = broker.subscription(group="never")
        one, two = await Owner.open(bus, fast), await Owner.open(bus, slow)
        await fill(bus, 10)
        seqs = [e.seq for e in await one.take(10)]
        await two.take(10)
        await one.intake.commit(0, seqs[9], [])
        await two.intake.commit(0, seqs[3], [])
        await settled(bus, fast, 0)
        await settled(bus, slow, 6)
        await bus.trim({"topic": [fast, slow, never], "nothing": []})
        assert await two.intake.read(0, seqs[0])
        await bus.trim({"topic": [fast, slow]})

        with pytest.raises(BusError):
            await two.intake.read(0, seqs[3])
        assert await two.intake.read(0, seqs[4])
        assert await bus.lag(slow) == 6

    broker.run(test)


def test_a_topic_that_nobody_reads_never_stays_full(limited: Broker) -> None:
    limited.options["maxBytes"] = str(100_000)

    async def test(bus: EventBus) -> None:
        await fill(bus, 3, subject="small")
        await fill_up(bus, output=True)
        await bus.trim({})
        await fill_up(bus, output=True)
        await bus.trim({"topic": []})
        await bus.publish("topic", event(0), output=True)
        owner = await Owner.open(bus, limited.subscription("small"))

        assert ids(await owner.take(3)) == [0, 1, 2]

    limited.run(test)
