"""Input bindings with real brokers: bytes as they stand, durable between the broker and the app, once for everybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from eventbus import raw
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.publisher import Publisher
from eventbus.kafka.records import Stored
from eventbus.kafka.settings import Settings
from eventbus.kafka.topics import Topics
from proxy.settings import ProxySettings
from proxy.sources import Sources
from tests.brokers import Nats
from tests.kafka import Kafka
from tests.mosquitto import Mosquitto
from tests.proxy.components.binding_world import Binding, body
from tests.proxy.plant import until
from tests.sources.mqtt_world import Publisher as Device

pytestmark = pytest.mark.broker
EVENT = b'{"specversion":"1.0","id":"1","source":"/a","type":"t","data":1}'


def run(binding: Binding, test: Callable[[Binding], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(90), binding:
            await test(binding)

    asyncio.run(main())


class Producer:
    """Somebody else's client of Kafka."""

    def __init__(self, kafka: Kafka) -> None:
        self._cluster = Cluster(Settings(brokers=kafka.bootstrap))
        self._publisher = Publisher(self._cluster, 20.0)
        self._topics = Topics(self._cluster, 1)

    async def start(self, *topics: str) -> None:
        await self._cluster.connect()
        for topic in topics:
            await self._topics.ensure(topic)

    async def send(self, topic: str, value: bytes | None, key: bytes | None = None, **headers: bytes) -> None:
        await self._publisher.publish((topic, 0), Stored(key, value, list(headers.items())))

    async def stop(self) -> None:
        self._publisher.stop("done")
        await self._cluster.close()


def test_records_of_several_topics_come_as_they_stand(tmp_path: Path, nats: Nats, kafka: Kafka) -> None:
    metadata = {"brokers": kafka.bootstrap, "authType": "none", "topics": "first, second", "initialOffset": "oldest"}

    async def test(binding: Binding) -> None:
        producer = Producer(kafka)
        await producer.start("first", "second")
        try:
            await producer.send("first", EVENT, b"k", who=b"me")
            await producer.send("second", b"\x00\xff")
            await producer.send("second", None)
            found = await binding.take(3)
        finally:
            await producer.stop()

        assert sorted(map(body, found)) == sorted([EVENT, b"\x00\xff", b""])
        (first,) = [one for one in found if body(one) == EVENT]
        assert first.key == "k"
        beside = raw.metadata(first.payload)
        assert {name: beside[name] for name in ("__key", "__topic", "__offset", "__partition", "who")} == {
            "__key": "k",
            "__topic": "first",
            "__offset": "0",
            "__partition": "0",
            "who": "me",
        }

    run(Binding(tmp_path, nats, "bindings.kafka", metadata), test)


def test_messages_of_mqtt_wait_for_the_app_while_nobody_hosts_the_source(
    tmp_path: Path, nats: Nats, mosquitto: Mosquitto
) -> None:
    metadata = {"url": mosquitto.url, "topic": "field/+/reading", "consumerID": "x"}

    async def test(binding: Binding) -> None:
        device = await asyncio.to_thread(Device, mosquitto.port)
        try:
            await until(lambda: all(one.connected for one in binding.world.sources.readings()), 20)
            await asyncio.to_thread(device.send, "field/1/reading", EVENT)
            (first,) = await binding.take(1)
            binding.run(hosted=False)
            await until(lambda: not binding.world.sources.readings(), 20)
            await asyncio.gather(*binding.world.sources._ending.values())
            await asyncio.to_thread(device.send, "field/2/reading", b"while away")
            binding.run()
            (second,) = await binding.take(1)
        finally:
            await asyncio.to_thread(device.stop)

        assert [body(first), body(second)] == [EVENT, b"while away"]
        assert raw.metadata(second.payload) == {"topic": "field/2/reading", "retained": "false"}
        assert first.key == "field/1/reading"

    run(Binding(tmp_path, nats, "bindings.mqtt3", metadata), test)


def test_a_tick_fires_once_however_many_host_it(tmp_path: Path, nats: Nats) -> None:
    async def test(binding: Binding) -> None:
        settings = ProxySettings(control=tmp_path / "c", cache=tmp_path, platform=binding.world.platform)
        twin = Sources(settings, binding.world.buses)  # as around a takeover, when two proxies have it
        twin.assign({binding.source.key: binding.source}, [binding.source.key])
        try:
            began = time.time()
            found = await binding.take(4)
            passed = time.time() - began
        finally:
            await twin.close()

        times = [raw.metadata(one.payload)["readTimeUTC"] for one in found]
        assert times == sorted(set(times))
        assert passed > 0.5, "each time would have come twice"
        assert {body(one) for one in found} == {b""}
        assert raw.metadata(found[0].payload)["timeZone"] == "UTC"

    run(Binding(tmp_path, nats, "bindings.cron", {"schedule": "@every 250ms"}, "tick"), test)
