"""Every pub/sub component with its real broker: what is published arrives, in order, whoever fails meanwhile."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from datetime import UTC, datetime

import pytest

from api.meta import Key
from api.model import Subscription
from eventbus import raw
from tests.proxy.components.conftest import Make
from tests.proxy.components.pubsub_world import World, run, topic
from tests.proxy.plant import Answer, Replica, event, until

pytestmark = pytest.mark.broker


def test_what_is_published_arrives_once_in_every_app(world: World) -> None:
    async def test(world: World) -> None:
        first, second = Replica(), Replica()
        one = await world.subscribe(topic(world), first)
        other = await world.subscribe(topic(world), second, group="other")
        for number in range(20):
            await world.bus.publish(topic(world), event(number), dedupe=f"d{number}")
        await until(lambda: len(first.events) == len(second.events) == 20, 30)
        await one.drained(20)
        await other.drained(20)

        assert sorted(first.numbers) == sorted(second.numbers) == list(range(20))

    run(world, test)


def test_a_poison_event_blocks_neither_the_others_nor_its_own_end(world: World) -> None:
    """Dapr's Kafka component holds up the partition, MQTT's gets no redelivery, Redis' forgets what failed, and
    in-memory loses it."""

    async def test(world: World) -> None:
        async def handler(one: Answer) -> Answer:
            return {"status": "RETRY" if one["data"]["n"] == 3 else "SUCCESS"}

        replica = Replica(handler)
        plant = await world.subscribe(topic(world), replica)
        for number in range(10):
            await world.bus.publish(topic(world), event(number, f"k{number}"), dedupe=f"d{number}")
        await until(lambda: len({one["id"] for one in replica.events}) == 10, 30)
        await until(lambda: len(replica.events) == 12, 30)
        await plant.drained(20)
        (letter,) = await plant.letters()

        assert replica.attempts["3"] == 3
        assert replica.numbers.count(3) == 3
        assert sorted(n for n in replica.numbers if n != 3) == [n for n in range(10) if n != 3]
        assert (letter.event_id, letter.reason) == ("3", "max-attempts")

    run(world, test)


def test_raw_bytes_come_out_as_they_went_in(world: World) -> None:
    body = b"\x00\xff not json"

    async def test(world: World) -> None:
        replica = Replica()
        await world.subscribe(topic(world), replica, form="raw")
        carrier = raw.wrap(body, id="1", source="/app", type="t", time=datetime.now(UTC))
        await world.bus.publish(topic(world), carrier, dedupe="d")
        await until(lambda: replica.events, 30)

        assert b64decode(replica.events[0]["data_base64"]) == body

    run(world, test)


def test_a_topic_of_memory_that_ends_in_a_star_means_all_that_begin_so(memory: World) -> None:
    async def test(world: World) -> None:
        wide, narrow = Replica(), Replica()
        await world.subscribe("orders/*", wide)
        await world.subscribe("orders/new", narrow, group="other")
        for number, name in enumerate(("orders/new", "orders/", "orders/old", "order")):
            await world.bus.publish(name, event(number), dedupe=f"d{number}")
        await until(lambda: len(wide.events) == 2 and len(narrow.events) == 1, 20)

        assert wide.numbers == [0, 2]
        assert narrow.numbers == [0]

    run(memory, test)


@pytest.mark.parametrize("pattern", ["{0}/+/reading", "{0}/#", "$share/apps/{0}/+/reading"])
def test_wildcards_of_mqtt_bring_every_topic_in_order(mqtt: World, pattern: str) -> None:
    async def test(world: World) -> None:
        wide, narrow = Replica(), Replica()
        await world.subscribe(pattern.format(world.namespace), wide)
        await world.subscribe(f"{world.namespace}/1/reading", narrow, group="other")
        for number in range(60):
            name = f"{world.namespace}/{number % 3}/reading"
            await world.bus.publish(name, event(number), key=name, dedupe=f"d{number}")
        await until(lambda: len(wide.events) == 60 and len(narrow.events) == 20, 30)

        for part in range(3):
            assert [n for n in wide.numbers if n % 3 == part] == list(range(part, 60, 3))
        assert narrow.numbers == list(range(1, 60, 3))

    run(mqtt, test)


def test_retained_messages_are_kept_by_the_broker_where_they_are_asked_for(mqtt: World) -> None:
    async def test(world: World) -> None:
        name = f"{world.namespace}/state"
        await world.bus.publish(name, event(1), metadata={"retain": "true"})
        await world.bus.publish(f"{name}/other", event(2))
        replica = Replica()
        await world.subscribe(f"{name}/#", replica)
        await until(lambda: replica.events, 20)
        await world.bus.publish(name, event(3), dedupe="d3")
        await until(lambda: len(replica.events) == 2, 20)

        assert replica.numbers == [1, 3]

    run(mqtt, test)


@pytest.mark.parametrize(
    ("type_", "pattern", "name"), [("mqtt3", "t/{0}/+", "t/{0}/a"), ("jetstream", "t.{0}.>", "t.{0}.a.b")]
)
def test_a_publish_waits_for_a_subscription_with_wildcards_too(make: Make, type_: str, pattern: str, name: str) -> None:
    """The broker keeps nothing for a bridge that has not subscribed yet."""

    async def test(world: World) -> None:
        replica = Replica()
        wanted = pattern.format(world.namespace)
        declared = Subscription(
            key=Key(world.namespace, f"app.{wanted}"), bus=world.declared.key, subject=wanted, group="app"
        )
        world.buses.openings.declare([declared])
        publishing = asyncio.create_task(world.bus.publish(name.format(world.namespace), event(1), dedupe="d1"))
        await asyncio.sleep(0)
        assert not publishing.done()
        await world.subscribe(wanted, replica)
        await publishing
        await until(lambda: replica.numbers == [1], 20)

    run(make(type_), test)
