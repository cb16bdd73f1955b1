"""What stands on each broker is what Dapr's sidecars write and read, seen by clients that are not ours."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
import pytest
import redis.asyncio as redis_client
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from eventbus import raw
from tests.brokers import Nats
from tests.kafka import Kafka
from tests.mosquitto import Mosquitto
from tests.proxy.components.conftest import Make
from tests.proxy.components.pubsub_world import World, run, topic
from tests.proxy.plant import Replica, event, until
from tests.redis import Redis
from tests.sources.nats_world import outsider

pytestmark = pytest.mark.broker

THEIRS: dict[str, Any] = {
    "data": {"n": 7},
    "datacontenttype": "application/json",
    "id": "5929aaac-a5e2-4ca1-859c-edfe73f11565",
    "pubsubname": "bus",
    "source": "checkout",
    "specversion": "1.0",
    "time": "2026-11-21T10:00:00Z",
    "topic": "orders",
    "traceid": "00-113ad9c4e42b27583ae98ba698d54255-e3743e35ff56f219-01",
    "traceparent": "00-113ad9c4e42b27583ae98ba698d54255-e3743e35ff56f219-01",
    "tracestate": "",
    "type": "com.dapr.event.sent",
}
"""As a sidecar publishes it."""
BODY = b"\x00\xff raw"


def carrier() -> bytes:
    return raw.wrap(BODY, id="r", source="/app", type="t", time=datetime.now(UTC))


async def both_ways(
    world: World, send: Callable[[bytes], Awaitable[None]], read: Callable[[], Awaitable[bytes]]
) -> None:
    """*send* puts a message on the broker as a sidecar does, *read* takes the next one as it does."""
    replica = Replica()
    await world.subscribe(topic(world), replica)
    await send(json.dumps(THEIRS).encode())
    await until(lambda: replica.events, 30)
    theirs = await read()
    await world.bus.publish(topic(world), event(1), dedupe="d1", metadata={"who": "me"})
    ours = await read()
    await world.bus.publish(topic(world), carrier(), dedupe="d2")
    bare = await read()

    assert replica.events[0] == THEIRS
    assert theirs == json.dumps(THEIRS).encode()
    assert ours == event(1)
    assert bare == BODY


def test_kafka(make: Make, kafka: Kafka) -> None:
    async def test(world: World) -> None:
        await world.bus.publish(topic(world), event(0), dedupe="d0")  # makes the topic
        consumer = AIOKafkaConsumer(topic(world), bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await consumer.start()
        await producer.start()
        records: list[Any] = []

        async def send(value: bytes) -> None:
            await producer.send_and_wait(topic(world), value, key=b"k", headers=[("rawPayload", b"false")])

        async def read() -> bytes:
            records.append(await consumer.getone())
            return bytes(records[-1].value)

        try:
            await read()
            await both_ways(world, send, read)
            keyed = json.dumps({**THEIRS, "id": "keyed"}).encode()
            await world.bus.publish(topic(world), keyed, dedupe="d3", metadata={"partitionKey": "me", "x": "1"})
            await read()
        finally:
            await producer.stop()
            await consumer.stop()

        headers = dict(records[-1].headers)
        headers.pop("evoke-dedupe")
        assert (records[-1].key, records[-1].value) == (b"me", keyed)
        assert headers == {"partitionKey": b"me", "x": b"1"}
        assert "content-type" not in dict(records[2].headers)

    run(make("kafka"), test)


def test_redis(make: Make, redis: Redis) -> None:
    async def test(world: World) -> None:
        client = redis_client.Redis(port=redis.port)
        last, seen = "0", []

        async def send(value: bytes) -> None:
            await client.xadd(topic(world), {"data": value, "metadata": b'{"who":"them"}'})

        async def read() -> bytes:
            nonlocal last
            ((_, ((id_, fields),)),) = await client.xread({topic(world): last}, count=1, block=10_000)
            last = id_.decode()
            seen.append(fields)
            return bytes(fields[b"data"])

        try:
            await both_ways(world, send, read)
        finally:
            await client.aclose()
        assert json.loads(seen[1][b"metadata"]) == {"who": "me"}
        assert seen[2].keys() == {b"data"}

    run(make("redis"), test)


def test_redis_keeps_as_much_as_it_was_told(make: Make, redis: Redis) -> None:
    async def test(world: World) -> None:
        for number in range(400):
            await world.bus.publish(topic(world), event(number))
        async with redis_client.Redis(port=redis.port) as client:
            assert await client.xlen(topic(world)) < 250

    run(make("redis", maxLenApprox="100"), test)


def test_mqtt(make: Make, mosquitto: Mosquitto) -> None:
    async def test(world: World) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        messages: asyncio.Queue[bytes] = asyncio.Queue()
        client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        client.on_connect = lambda client, *_: client.subscribe(topic(world), 1)
        client.on_subscribe = lambda *_: loop.call_soon_threadsafe(ready.set)
        client.on_message = lambda _c, _u, got: loop.call_soon_threadsafe(messages.put_nowait, got.payload)
        client.connect_async("127.0.0.1", mosquitto.port)
        client.loop_start()

        async def send(value: bytes) -> None:
            client.publish(topic(world), value, qos=1)

        try:
            await ready.wait()
            await both_ways(world, send, messages.get)
        finally:
            await asyncio.to_thread(client.disconnect)
            await asyncio.to_thread(client.loop_stop)

    run(make("mqtt3"), test)


def test_jetstream(make: Make, streams: Nats) -> None:
    async def test(world: World) -> None:
        async with outsider(streams.options) as client:
            seq = 0

            async def send(value: bytes) -> None:
                await client.send(topic(world), value, Nats_Msg_Id=THEIRS["id"] + world.namespace)

            async def read() -> bytes:
                nonlocal seq
                found = None
                while found is None or found.seq <= seq:  # the newest of the subject
                    found = await client.js.last("THEIRS", topic(world))
                seq = found.seq
                return found.data

            await both_ways(world, send, read)

    run(make("jetstream"), test)


def test_one_event_on_two_subjects_of_a_stream_is_two(make: Make) -> None:
    """A stream absorbs what has one message id, whatever its subject: Dapr sends the event's id alone."""

    async def test(world: World) -> None:
        one, two = Replica(), Replica()
        await world.subscribe(topic(world), one)
        await world.subscribe(topic(world, "more"), two, group="other")
        for name in (topic(world), topic(world, "more"), topic(world)):
            await world.bus.publish(name, event(1), dedupe="same")
        await until(lambda: one.events and two.events, 30)

        assert one.numbers == two.numbers == [1]

    run(make("jetstream"), test)


def test_a_subject_that_no_stream_has_is_refused(make: Make) -> None:
    from eventbus.errors import Missing

    async def test(world: World) -> None:
        with pytest.raises(Missing, match="no stream"):
            await world.bus.publish("elsewhere.orders", event(1))

    run(make("jetstream"), test)


def test_foreign_bytes_are_events_by_our_mapping(world: World) -> None:
    """Where Dapr's sidecar fails and, without a dead letter topic, tries for ever."""

    async def test(world: World) -> None:
        replica = Replica()
        raw_reader = Replica()
        await world.subscribe(topic(world), replica)
        await world.subscribe(topic(world), raw_reader, group="other", form="raw")
        await world.bus.publish(topic(world), carrier(), dedupe="d1")
        await until(lambda: replica.events and raw_reader.events, 30)

        assert b64decode(replica.events[0]["data_base64"]) == BODY
        assert b64decode(raw_reader.events[0]["data_base64"]) == BODY

    run(world, test)


def test_kafka_goes_on_where_a_sidecar_stopped(make: Make, kafka: Kafka) -> None:
    async def test(world: World) -> None:
        for number in range(10):
            await world.bus.publish(topic(world), event(number), dedupe=f"d{number}")
        sidecar = AIOKafkaConsumer(
            bootstrap_servers=kafka.bootstrap, group_id=world.namespace, enable_auto_commit=False
        )
        await sidecar.start()
        try:
            place = TopicPartition(topic(world), 0)
            sidecar.assign([place])
            await sidecar.commit({place: 4})
        finally:
            await sidecar.stop()
        replica = Replica()
        plant = await world.subscribe(topic(world), replica, group=world.namespace)
        await until(lambda: len(replica.events) >= 6, 30)
        await plant.drained(20)

        assert sorted(replica.numbers) == [4, 5, 6, 7, 8, 9]

    run(make("kafka"), test)
