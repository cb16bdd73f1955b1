"""What Dapr's own components lose, repeat or stall on, and ours do not: each case with the real broker."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from api.delivery import Backoff, DeliveryPolicy
from eventbus.errors import BusError
from tests.brokers import start_nats
from tests.proxy.components.conftest import TYPES, Make
from tests.proxy.components.pubsub_world import World, run, topic
from tests.proxy.plant import Answer, Replica, event, until

pytestmark = pytest.mark.broker


PAUSE = timedelta(milliseconds=50)
PATIENT = DeliveryPolicy(max_attempts=1000, backoff=Backoff(initial=PAUSE, cap=PAUSE))


class Gauge:
    """A slow handler that counts how many run at once."""

    def __init__(self, seconds: float = 0.02) -> None:
        self.seconds = seconds
        self.running = self.most = 0

    async def __call__(self, _event: Answer) -> Answer:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(self.seconds)  # what a handler takes, not a wait for anything
        self.running -= 1
        return {"status": "SUCCESS"}


def test_kafka_loses_nothing_where_retries_are_turned_off(make: Make) -> None:
    """There the offset of a failed record is passed with the next success."""

    async def test(world: World) -> None:
        async def handler(one: Answer) -> Answer:
            return {"status": "RETRY" if one["data"]["n"] == 0 and len(replica.events) == 0 else "SUCCESS"}

        replica = Replica(handler)
        plant = await world.subscribe(topic(world), replica)
        for number in range(5):
            await world.bus.publish(topic(world), event(number, "same"), dedupe=f"d{number}")
        await plant.drained(30)

        assert replica.attempts["0"] == 2
        assert replica.numbers == [0, 0, 1, 2, 3, 4]

    run(make("kafka", consumeRetryEnabled="false"), test)


@pytest.mark.parametrize("type_", TYPES)
def test_no_more_is_in_flight_than_the_app_takes(make: Make, type_: str) -> None:
    """Dapr's MQTT and JetStream components start a handler for whatever comes."""

    async def test(world: World) -> None:
        gauge = Gauge()
        replica = Replica(gauge, credit=3)
        plant = await world.subscribe(topic(world), replica)
        await asyncio.gather(*(world.bus.publish(topic(world), event(n), dedupe=f"d{n}") for n in range(60)))
        await until(lambda: len(replica.events) == 60, 30)
        await plant.drained(30)

        assert sorted(replica.numbers) == list(range(60))
        assert gauge.most <= 3

    run(make(type_), test)


@pytest.mark.parametrize("type_", TYPES)
def test_the_next_proxy_goes_on_where_the_last_one_stopped(make: Make, type_: str) -> None:
    """Dapr's JetStream component without a durable name replays the stream at every start."""
    first, second = Replica(), Replica()

    async def before(world: World) -> None:
        plant = await world.subscribe(topic(world), first)
        for number in range(10):
            await world.bus.publish(topic(world), event(number), dedupe=f"d{number}")
        await until(lambda: len(first.events) == 10, 30)
        await plant.drained(30)

    async def after(world: World) -> None:
        plant = await world.subscribe(topic(world), second)
        for number in range(10, 15):
            await world.bus.publish(topic(world), event(number), dedupe=f"d{number}")
        await until(lambda: len(second.events) >= 5, 30)
        await plant.drained(30)

    old = make(type_)
    run(old, before)
    run(make(type_, old.namespace), after)

    assert sorted(first.numbers) == list(range(10))
    assert sorted(second.numbers) == list(range(10, 15))


@pytest.mark.parametrize("type_", ["redis", "mqtt3", "jetstream"])
def test_what_comes_while_no_proxy_runs_waits_in_the_broker(make: Make, type_: str) -> None:
    first, second = Replica(), Replica()

    async def before(world: World) -> None:
        plant = await world.subscribe(topic(world), first)
        await world.bus.publish(topic(world), event(0), dedupe="d0")
        await until(lambda: first.events, 30)
        await plant.drained(30)

    async def meanwhile(world: World) -> None:  # a publisher whose platform reads nothing
        for number in range(1, 6):
            await world.bus.publish(topic(old), event(number), dedupe=f"d{number}")

    async def after(world: World) -> None:
        plant = await world.subscribe(topic(world), second)
        await until(lambda: len(second.events) == 5, 30)
        await plant.drained(30)

    old = make(type_)
    run(old, before)
    run(make(type_), meanwhile)
    run(make(type_, old.namespace), after)

    assert sorted(second.numbers) == [1, 2, 3, 4, 5]


def test_redis_does_not_hand_out_twice_what_is_still_in_work(make: Make) -> None:
    """Dapr's component takes it over from itself after processingTimeout."""

    async def test(world: World) -> None:
        replica = Replica(Gauge(1.0))
        plant = await world.subscribe(topic(world), replica)
        await world.bus.publish(topic(world), event(1), dedupe="d1")
        await until(lambda: replica.events, 30)
        await plant.drained(30)

        assert replica.numbers == [1]

    run(make("redis", processingTimeout="100ms", redeliverInterval="100ms"), test)


def test_two_proxies_do_not_end_each_others_session(make: Make) -> None:
    """Dapr's MQTT component connects with the app id, so two replicas evict each other for ever."""

    async def test(world: World) -> None:
        one, two = Replica(), Replica()
        await world.subscribe(topic(world), one)
        await world.subscribe(topic(world, "more"), two, group="other")
        readings = [reading for reading in world.sources.readings() if reading.reason]
        for number in range(20):
            await world.bus.publish(topic(world), event(number), dedupe=f"d{number}")
            await world.bus.publish(topic(world, "more"), event(number), dedupe=f"e{number}")
        await until(lambda: len(one.events) == len(two.events) == 20, 30)

        assert not readings
        assert all(reading.connected and not reading.reason for reading in world.sources.readings())

    run(make("mqtt3", consumerID="app"), test)


def test_a_killed_broker_of_the_platform_forgets_nothing_of_memory(tmp_path: Path) -> None:
    """Dapr's topics in memory end with their sidecar, and a failed event is gone at once."""
    nats = start_nats(tmp_path / "own", "sync")

    async def test(world: World) -> None:
        failing = True

        async def handler(_event: Answer) -> Answer:
            return {"status": "RETRY" if failing else "SUCCESS"}

        replica = Replica(handler)
        plant = await world.subscribe(topic(world), replica, delivery=PATIENT)
        for number in range(5):
            await world.bus.publish(topic(world), event(number), dedupe=f"d{number}")
        await until(lambda: len(replica.events) >= 5, 20)
        await asyncio.to_thread(nats.restart)
        failing = False
        await until(lambda: not plant.reading.blind and plant.reading.lag == 0, 40)

        assert {one["id"] for one in replica.events} == {"0", "1", "2", "3", "4"}
        assert not await plant.letters()

    try:
        run(World(tmp_path, nats, "pubsub.in-memory", {}), test)
    finally:
        nats.stop()


def _patient() -> Any:
    from datetime import timedelta

    from api.delivery import Backoff, DeliveryPolicy

    return DeliveryPolicy(
        max_attempts=1000, backoff=Backoff(initial=timedelta(milliseconds=50), cap=timedelta(milliseconds=50))
    )


@pytest.mark.parametrize("type_", ["redis", "jetstream", "mqtt3"])
def test_publishes_that_overlap_a_restart_of_the_broker_arrive_in_order(
    make: Make, type_: str, request: pytest.FixtureRequest
) -> None:
    server: Any = request.getfixturevalue({"redis": "redis", "jetstream": "streams", "mqtt3": "mosquitto"}[type_])

    async def test(world: World) -> None:
        replica = Replica()
        plant = await world.subscribe(topic(world), replica)
        again: set[int] = set()
        publishing = [asyncio.create_task(_surely(world, number, again)) for number in range(100)]
        await asyncio.to_thread(server.restart)
        publishing += [asyncio.create_task(_surely(world, number, again)) for number in range(100, 200)]
        await asyncio.gather(*publishing)
        await until(lambda: len(replica.events) >= 200, 40)
        await plant.drained(40)

        assert sorted(replica.numbers) == list(range(200))
        assert [n for n in replica.numbers if n not in again] == [n for n in range(200) if n not in again]

    run(make(type_), test)


async def _surely(world: World, number: int, again: set[int]) -> None:
    """*again* gets those that were refused and so are published anew, behind what came after them."""
    while True:
        try:
            await world.bus.publish(topic(world), event(number, "same"), dedupe=f"d{number}")
        except BusError:
            again.add(number)
            continue
        return


@pytest.mark.parametrize("type_", TYPES)
def test_what_one_proxy_publishes_another_delivers(make: Make, type_: str) -> None:
    """Dapr's topics in memory end at their own sidecar."""

    async def test(world: World) -> None:
        replica = Replica()
        plant = await world.subscribe(topic(world), replica)
        async with other:
            other.buses.openings.declare(world.subscriptions)
            for number in range(30):
                publisher = world if number % 2 else other
                await publisher.bus.publish(topic(world), event(number, "same"), dedupe=f"d{number}")
            await until(lambda: len(replica.events) >= 30, 30)
        await plant.drained(20)

        assert replica.numbers == list(range(30))

    first = make(type_)
    other = make(type_, first.namespace)
    run(first, test)
