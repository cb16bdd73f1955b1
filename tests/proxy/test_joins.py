"""Inputs of a join on their way through real owners: shared state, one publish per meeting, whatever is killed when."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from api.meta import Key
from api.model import Bus, Join, JoinSink, Subscription
from eventbus.bus import EventBus, Incoming
from eventbus.connect import connect
from eventbus.errors import Unreachable
from eventbus.memory.bus import MemoryBus
from proxy.lanes import Entry, Lane
from proxy.outcomes import DONE, Outcome
from proxy.sink_join import JoinReceiver
from tests.brokers import start_nats
from tests.proxy.plant import FAST, Plant, event, subscription, until

BUS = Key("default", "default")
JOIN = Join(
    key=Key("default", "pair.0"),
    bus=BUS,
    condition="a && b",
    inputs=("a", "b"),
    window=timedelta(minutes=1),
    correlate="data.car",
    forward="all",
    subject="evoke.joined.default.pair.0",
)
PATIENT = msgspec.structs.replace(FAST, max_attempts=1000)


def fed(name: str) -> Subscription:
    return subscription(
        key=Key("default", f"pair.{name}"),
        subject=f"default.{name}",
        group=f"pair.{name}",
        backends=(),
        sink=JoinSink(join=JOIN.key, input=name),
        delivery=PATIENT,
    )


def member(name: str, number: int, car: int) -> bytes:
    return json.dumps(json.loads(event(number, car=f"car{car}")) | {"id": f"{name}{number}"}).encode()


@asynccontextmanager
async def plants(*buses: EventBus) -> AsyncIterator[list[Plant]]:
    """An owner of each input; with two buses each has a connection of its own, as in two proxies."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(Plant(fed(name), bus, joins=(JOIN,)))
            for name, bus in zip(JOIN.inputs, (*buses, *buses), strict=False)
        ]


async def joined(bus: EventBus) -> list[dict[str, Any]]:
    """Everything on the join's subject, up to now."""
    found: list[dict[str, Any]] = []
    last = event(0)
    await bus.publish(JOIN.subject, last)
    async with asyncio.timeout(5):
        async for one in bus.tail(JOIN.subject, since=datetime(2026, 1, 1, tzinfo=UTC)):
            if one.payload == last:
                break
            found.append(json.loads(one.payload))
    return found


def test_events_that_share_a_value_meet_once() -> None:
    async def scenario() -> None:
        bus = MemoryBus(Bus(key=BUS, kind="memory"), str)
        async with plants(bus) as (one, other):
            order = random.Random(5).sample([(name, car) for name in "ab" for car in range(100)], 200)
            for name, car in order:
                await bus.publish(f"default.{name}", member(name, car, car))
            await bus.publish("default.a", event(7))  # has no car
            await one.drained()
            await other.drained()

            found = await joined(bus)
            assert sorted(pair["data"]["a"]["data"]["n"] for pair in found) == list(range(100))
            assert all(pair["data"]["a"]["data"] == pair["data"]["b"]["data"] for pair in found)
            assert {pair["evokehops"] for pair in found} == {1}
            assert (one.reading.done, other.reading.done) == (101, 100)

    asyncio.run(scenario())


def test_all_proxies_meet_in_one_cell() -> None:
    """Many events of one car on both inputs at once: each takes part at most once, and no two pairs share one."""

    async def scenario() -> None:
        bus = MemoryBus(Bus(key=BUS, kind="memory"), str)
        async with plants(bus) as (one, other):
            for number in range(60):
                for name in "ab":
                    await bus.publish(f"default.{name}", member(name, number, 1))
            await one.drained()
            await other.drained()

            found = await joined(bus)
            for name in "ab":
                taken = [pair["data"][name]["id"] for pair in found]
                assert len(set(taken)) == len(taken)
            assert found

    asyncio.run(scenario())


class Weather:
    """A bus whose calls fail, or fail after they took effect, by dice; publishes are deduped like anywhere."""

    def __init__(self, bus: MemoryBus, dice: random.Random) -> None:
        self._bus, self._dice = bus, dice
        self.fair = False

    def _strike(self) -> None:
        if not self.fair and self._dice.random() < 0.25:
            raise Unreachable("the weather")

    async def publish(self, *given: Any, **named: Any) -> None:
        self._strike()
        await self._bus.publish(*given, **named)
        self._strike()

    async def state(self, name: str, *, ttl: timedelta) -> Any:
        cells = await self._bus.state(name, ttl=ttl)
        weather = self

        class Cells:
            async def get(self, key: str) -> Any:
                weather._strike()
                return await cells.get(key)

            async def put(self, key: str, value: bytes, revision: int) -> int:
                weather._strike()
                done = await cells.put(key, value, revision)
                weather._strike()
                return done

        return Cells()


def test_whatever_fails_between_the_writes_each_meeting_is_published_once() -> None:
    seed = 20261121
    print(f"seed {seed}")

    async def scenario() -> None:
        for round_ in range(40):
            dice = random.Random(seed + round_)
            bus = MemoryBus(Bus(key=BUS, kind="memory"), str)
            await bus.connect()
            weather = Weather(bus, dice)
            receivers = receivers_on(weather)
            left = [(name, member(name, car, car)) for name in "ab" for car in range(10)]
            dice.shuffle(left)
            while left:  # as an owner does: what failed comes again, after whatever came meanwhile
                name, payload = left.pop(0)
                if await take(receivers[name], payload) != DONE:
                    left.insert(dice.randrange(len(left) + 1), (name, payload))
            weather.fair = True
            for name in "ab":  # as after a kill: everything is delivered once more
                for car in range(10):
                    assert await take(receivers[name], member(name, car, car)) == DONE

            pairs = [pair["data"]["a"]["data"]["n"] for pair in await joined(bus)]
            assert sorted(pairs) == list(range(10)), f"seed {seed + round_}"

    asyncio.run(scenario())


def receivers_on(weather: Weather) -> dict[str, JoinReceiver]:
    bus = cast("EventBus", weather)
    return {name: JoinReceiver(JoinSink(join=JOIN.key, input=name), lambda _: bus, lambda _: JOIN) for name in "ab"}


async def take(receiver: JoinReceiver, payload: bytes) -> Outcome:
    entry = Entry(Incoming(0, 1, "", payload, 1000.0), Lane(""), 0.0)
    return await receiver._take(entry, 1000.0)


class Stateless(MemoryBus):
    """As a bus of Kafka: events, and no cells."""

    async def state(self, name: str, *, ttl: timedelta) -> Any:
        return None


def test_a_bus_without_state_borrows_that_of_the_default_one() -> None:
    async def scenario() -> None:
        key = Key("default", "kafka")
        plain, default = (
            Stateless(Bus(key=key, kind="memory"), str),
            MemoryBus(Bus(key=BUS, kind="memory"), str),
        )
        buses: dict[Key, EventBus] = {key: plain, BUS: default}
        await plain.connect()
        await default.connect()
        join = msgspec.structs.replace(JOIN, bus=key)
        for name in "ab":
            receiver = JoinReceiver(JoinSink(join=join.key, input=name), buses.__getitem__, lambda _: join)
            assert await take(receiver, member(name, 1, 1)) == DONE
        assert len(await joined(plain)) == 1

        del buses[BUS]
        buses[BUS] = Stateless(Bus(key=BUS, kind="memory"), str)
        receiver = JoinReceiver(JoinSink(join=join.key, input="a"), buses.__getitem__, lambda _: join)
        assert (await take(receiver, member("a", 2, 2))).error == (
            "neither bus default/kafka nor the default one of its namespace keeps state"
        )

    asyncio.run(scenario())


def test_an_undeclared_join_keeps_its_events() -> None:
    async def scenario() -> None:
        async with Plant(fed("a")) as plant:
            await plant.bus.publish("default.a", member("a", 1, 1))
            await until(lambda: plant.reading.failed)

            assert plant.reading.lag == 1
            assert plant.reading.last_error == "join default/pair.0 is not declared"

    asyncio.run(scenario())


@pytest.mark.broker
def test_two_proxies_on_jetstream_meet_while_the_broker_is_killed(tmp_path: Path) -> None:
    async def scenario() -> None:
        nats = await asyncio.to_thread(start_nats, tmp_path)
        made = Bus(key=BUS, kind="nats", options=dict(nats.options))
        publisher, first, second = (connect(made, str) for _ in range(3))
        try:
            await publisher.connect()
            async with plants(first, second) as (one, other):
                for car in range(150):
                    if car == 75:
                        await asyncio.to_thread(nats.restart)
                        await until(lambda: publisher.connected, 20)
                    for name in "ab":
                        await publisher.publish(f"default.{name}", member(name, car, car), dedupe=f"{name}{car}")
                await one.drained(30)
                await other.drained(30)
                found = await joined(publisher)
                assert sorted(pair["data"]["a"]["data"]["n"] for pair in found) == list(range(150))
        finally:
            for bus in (publisher, first, second):
                await bus.close()
            await asyncio.to_thread(nats.stop)

    asyncio.run(scenario())
