"""Publishes that come before the subscriptions of their subject."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from api.meta import Key
from api.model import Bus, Subscription
from eventbus.bus import Incoming
from eventbus.errors import Unreachable
from eventbus.memory.bus import MemoryBus
from eventbus.openings import Gate, Openings

BUS = Key("default", "default")
LATE = Subscription(key=Key("default", "late"), bus=BUS, subject="s", group="late", trigger="late")


def event(number: int) -> bytes:
    return b'{"specversion":"1.0","id":"%d","source":"/t","type":"t"}' % number


def opened(patience: float = 5.0) -> tuple[MemoryBus, Openings, Gate]:
    bus, openings = MemoryBus(Bus(key=BUS, kind="memory"), str), Openings(patience)
    openings.declare([LATE])
    return bus, openings, Gate(bus, BUS, openings)


def test_what_is_published_before_a_subscription_opened_reaches_it_in_order() -> None:
    async def scenario() -> None:
        bus, _, gate = opened()
        await gate.connect()
        got: list[Incoming] = []
        early = [asyncio.create_task(gate.publish("s", event(n))) for n in range(5)]
        await gate.publish("elsewhere", event(9))
        await asyncio.sleep(0)
        assert not any(one.done() for one in early)

        assert LATE.start == "new"
        intake = await bus.open(LATE, worker="w", deliver=got.extend, lost=print)
        intake.request(100)
        await early[0]
        await gate.publish("s", event(5))
        await asyncio.gather(*early)
        await asyncio.sleep(0)
        assert [one.payload for one in got] == [event(n) for n in range(6)]

    asyncio.run(scenario())


def test_nobody_overtakes_those_who_waited() -> None:
    async def scenario() -> None:
        bus, _, gate = opened()
        await gate.connect()
        got: list[Incoming] = []
        tasks = [asyncio.create_task(gate.publish("s", event(n))) for n in range(20)]
        intake = await bus.open(LATE, worker="w", deliver=got.extend, lost=print)
        intake.request(1000)
        number = 20
        while not all(one.done() for one in tasks[:20]):
            tasks.append(asyncio.create_task(gate.publish("s", event(number))))
            number += 1
            await asyncio.sleep(0)
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)
        assert [one.payload for one in got] == [event(n) for n in range(number)]

    asyncio.run(scenario())


def test_a_subscription_that_nobody_opens_fails_the_publish() -> None:
    async def scenario() -> None:
        bus, openings, gate = opened(patience=0.1)
        await gate.connect()
        with pytest.raises(Unreachable, match="default/late"):
            await gate.publish("s", event(1))

        openings.declare([])
        await gate.publish("s", event(1))
        openings.declare([LATE])  # a trigger of the same name is a new one
        with pytest.raises(Unreachable):
            await gate.publish("s", event(2))
        assert await bus.open(LATE, worker="w", deliver=print, lost=print)
        await gate.publish("s", event(3))
        openings.declare([msgspec.structs.replace(LATE, trigger="edited")])
        bus.lag = None  # type: ignore[method-assign,assignment] # an edit asks nothing again
        await gate.publish("s", event(4))

    asyncio.run(scenario())
