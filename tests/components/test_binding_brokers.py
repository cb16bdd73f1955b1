"""bindings.kafka and bindings.mqtt3, outward, on real brokers: a call returns when the broker has it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from aiokafka import AIOKafkaConsumer
from paho.mqtt.enums import CallbackAPIVersion

from proxy.components import binding_mqtt3
from proxy.components.protocols import (
    ComponentError,
    ComponentFailed,
    MetadataIllegal,
    OperationUnknown,
    OutputBinding,
    TooMuch,
)
from tests.components.world import app, component, opened, until
from tests.kafka import Kafka, start_kafka
from tests.mosquitto import Mosquitto, start_mosquitto


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    made = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield made
    made.stop()


@pytest.fixture
def mosquitto(tmp_path: Path) -> Iterator[Mosquitto]:
    made = start_mosquitto(tmp_path)
    yield made
    made.stop()


@pytest.mark.broker
def test_records_of_kafka(kafka: Kafka) -> None:
    async def main() -> None:
        metadata = {"brokers": kafka.bootstrap, "authType": "none", "publishTopic": "out", "topics": "in"}
        consumer = AIOKafkaConsumer(bootstrap_servers=kafka.bootstrap, auto_offset_reset="earliest")
        async with opened(component("records", "bindings.kafka", {**metadata})) as here:
            binding = here.binding(app(), "records")
            bodies = [b"\x00\xff", b'{"n":1}', b"text", b""]
            for number, body in enumerate(bodies):
                await binding.invoke("create", body, {"partitionKey": f"k{number}", "color": "red"})
            await binding.invoke("create", b"plain", {})
            await consumer.start()
            try:
                consumer.subscribe(["out"])
                records = [await asyncio.wait_for(consumer.getone(), 30) for _ in range(5)]
            finally:
                await consumer.stop()
            assert [record.value for record in records] == [*bodies, b"plain"]
            assert [record.key for record in records] == [b"k0", b"k1", b"k2", b"k3", None]
            assert dict(records[0].headers)["color"] == b"red"
            assert records[4].headers == ()
            with pytest.raises(TooMuch):
                await binding.invoke("create", b"x" * (5 << 20), {})
            with pytest.raises(ComponentError, match="expected a number"):
                await binding.invoke("create", b"", {"partitionNumber": "first"})
            with pytest.raises(OperationUnknown, match="supported operations:create"):
                await binding.invoke("get", b"", {})
            assert here.readings()[0].connected

    asyncio.run(main())


@pytest.mark.broker
def test_kafka_without_a_topic_to_write_to(kafka: Kafka) -> None:
    async def main() -> None:
        metadata = {"brokers": kafka.bootstrap, "authType": "none", "topics": "in"}
        async with opened(component("records", "bindings.kafka", {**metadata})) as here:
            with pytest.raises(MetadataIllegal, match="no publishTopic"):
                await here.binding(app(), "records").invoke("create", b"", {})

    asyncio.run(main())


class Subscriber:
    """Collects what a topic filter gets."""

    def __init__(self, broker: Mosquitto, pattern: str) -> None:
        self.messages: list[tuple[str, bytes, bool]] = []
        self.subscribed = False
        self._client = paho.Client(CallbackAPIVersion.VERSION2)
        self._client.on_message = lambda _c, _u, one: self.messages.append((one.topic, one.payload, one.retain))
        self._client.on_subscribe = lambda *_: setattr(self, "subscribed", True)
        self._client.connect("127.0.0.1", broker.port)
        self._client.subscribe(pattern, 1)
        self._client.loop_start()

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.mark.broker
def test_messages_of_mqtt(mosquitto: Mosquitto) -> None:
    async def main() -> None:
        subscriber = Subscriber(mosquitto, "#")
        try:
            await until(lambda: subscriber.subscribed)
            async with opened(
                component("one", "bindings.mqtt3", {"url": mosquitto.url, "topic": "plant/out"}),
                component("two", "bindings.mqtt3", {"url": mosquitto.url, "topic": "plant/kept", "retain": "true"}),
            ) as here:
                one, two = here.binding(app(), "one"), here.binding(app(), "two")
                await one.invoke("create", b"\x00\xff", {})
                await one.invoke("create", b"there", {"topic": "plant/there", "retain": "true"})
                await two.invoke("create", b"kept", {})
                await until(lambda: len(subscriber.messages) == 3)
                assert [message[:2] for message in subscriber.messages] == [
                    ("plant/out", b"\x00\xff"),
                    ("plant/there", b"there"),
                    ("plant/kept", b"kept"),
                ]
                late = Subscriber(mosquitto, "#")
                try:
                    await until(lambda: len(late.messages) == 2)
                    assert sorted(late.messages) == [("plant/kept", b"kept", True), ("plant/there", b"there", True)]
                finally:
                    late.close()
                for topic in ("a/+", "#", "x" * 70_000):
                    with pytest.raises(MetadataIllegal, match="a topic has no wildcards"):
                        await one.invoke("create", b"", {"topic": topic})
        finally:
            subscriber.close()

    asyncio.run(main())


@pytest.mark.broker
def test_a_broker_of_mqtt_that_goes_and_comes_back(mosquitto: Mosquitto, monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        declared = component("one", "bindings.mqtt3", {"url": mosquitto.url, "topic": "t"})
        async with opened(declared) as here:
            binding: OutputBinding = here.binding(app(), "one")
            await binding.invoke("create", b"1", {})
            await asyncio.to_thread(mosquitto.stop)
            await until(lambda: not here.readings()[0].connected)
            monkeypatch.setattr(binding_mqtt3, "WITHIN", 0.05)
            with pytest.raises(ComponentFailed):
                await binding.invoke("create", b"2", {})
            monkeypatch.setattr(binding_mqtt3, "WITHIN", 30.0)
            waiting = asyncio.create_task(binding.invoke("create", b"3", {}))
            await asyncio.to_thread(mosquitto.start)
            await waiting
            await until(lambda: here.readings()[0].connected)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("type_", "metadata", "wanted"),
    [
        ("bindings.kafka", {"brokers": "b", "authType": "none"}, "neither topics to read nor a publishTopic"),
        ("bindings.kafka", {"authType": "none", "publishTopic": "t"}, r"brokers\]: it is missing"),
        ("bindings.kafka", {"brokers": "b", "authType": "password", "publishTopic": "t"}, "needs saslUsername"),
        ("bindings.mqtt3", {"url": "http://h", "topic": "t"}, r"url\]: write mqtt://host:1883"),
        ("bindings.mqtt3", {"url": "mqtt://h"}, r"topic\]: it is missing"),
        ("bindings.mqtt3", {"url": "mqtt://h", "topic": "a\0b"}, "it is no topic of MQTT"),
    ],
)
def test_metadata_that_do_not_hold(type_: str, metadata: dict[str, str], wanted: str) -> None:
    async def main() -> None:
        async with opened(component("one", type_, {**metadata})) as here:
            with pytest.raises(ComponentFailed, match=wanted):
                await here.binding(app(), "one").invoke("create", b"", {})

    asyncio.run(main())
