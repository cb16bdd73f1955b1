"""Foreign Kafka topics against a real broker: nothing is committed there that the bus does not have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from api.meta import Key
from api.model import Source
from api.platform import LOOPBACK, spare
from eventbus.errors import TooLarge, Unreachable
from eventbus.kafka import wire as kafka_wire
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.group import Group
from eventbus.kafka.records import Record
from eventbus.kafka.settings import Settings
from tests.kafka import PASSWORD, USER, Kafka, start_kafka
from triggers.sources.kafka import KafkaSource
from triggers.sources.kafka_events import brought
from triggers.sources.source import BadSource, SourceError

KEY = Key("shop", "stock.orders")
GROUP = "shop-stock-orders"
broker = pytest.mark.broker


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    made = start_kafka(tmp_path_factory.mktemp("kafka"), "SASL_PLAINTEXT", "SSL")
    yield made
    made.stop()


class Bus:
    """Stores events by dedupe id, while it is up."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.down = False
        self._seen: set[str] = set()

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise Unreachable("the bus is away")
        event = json.loads(payload)
        if isinstance(event.get("data"), str) and len(event["data"]) > 1000:
            raise TooLarge("the event is too large")
        if dedupe not in self._seen:
            self._seen.add(dedupe)
            self.events.append(event)

    def data(self) -> list[Any]:
        return [event.get("data") for event in self.events]


class Topic:
    """Somebody else's end of a topic of its own."""

    def __init__(self, kafka: Kafka, name: str) -> None:
        self.kafka, self.name = kafka, name
        self.cluster = Cluster(Settings(brokers=kafka.bootstrap))
        self.producer: AIOKafkaProducer

    async def make(self, partitions: int) -> None:
        await self.cluster.connect()
        await self.cluster.call(None, kafka_wire.create_topic(self.name, partitions, {}))
        while len(await self.cluster.partitions(self.name)) < partitions:  # noqa: ASYNC110 - nothing tells when
            await asyncio.sleep(0.02)
        while any(self.cluster.leader((self.name, number)) is None for number in range(partitions)):
            await self.cluster.refresh()
        self.producer = AIOKafkaProducer(bootstrap_servers=self.kafka.bootstrap)
        await self.producer.start()

    async def put(self, value: bytes | int | None, **more: Any) -> None:
        text = str(value).encode() if isinstance(value, int) else value
        await self.producer.send_and_wait(self.name, text, **{"partition": 0, **more})

    async def floors(self, group: str = GROUP) -> dict[int, int]:
        found = await Group(self.cluster, group).committed()
        return {partition: one.floor for (topic, partition), one in found.items() if topic == self.name}

    async def committed(self, wanted: dict[int, int], group: str = GROUP) -> None:
        async with asyncio.timeout(20):
            while await self.floors(group) != wanted:  # noqa: ASYNC110 - what is observed is another process
                await asyncio.sleep(0.02)


@asynccontextmanager
async def foreign(kafka: Kafka, name: str, partitions: int = 1) -> AsyncIterator[Topic]:
    topic = Topic(kafka, name)
    await topic.make(partitions)
    try:
        yield topic
    finally:
        await topic.producer.stop()
        await topic.cluster.close()


@asynccontextmanager
async def running(bus: Bus, topic: str, **options: str) -> AsyncIterator[KafkaSource]:
    """A source that is killed at the end: it gets no time to finish anything."""
    given = {"topic": topic, "start": "all", **options}
    source = KafkaSource(Source(key=KEY, kind="kafka", bus=Key("shop", "default"), subject="s"), given)
    task = asyncio.create_task(source.run(bus))
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(40):
        while not condition():  # noqa: ASYNC110 - what is observed is another process
            await asyncio.sleep(0.01)


async def reason(source: KafkaSource, wanted: str) -> str:
    try:
        await until(lambda: source.state().reason == wanted)
    except TimeoutError:
        raise AssertionError(f"{wanted} did not come: {source.state()}") from None
    assert not source.state().connected
    return source.state().message


@broker
def test_partitions_come_in_order_and_are_committed(kafka: Kafka) -> None:
    async def scenario() -> None:
        async with foreign(kafka, "ordered", 3) as topic:
            for number in range(300):
                await topic.producer.send("ordered", b"%d" % number, key=b"k%d" % (number % 3), partition=number % 3)
            await topic.producer.flush()
            bus = Bus()
            async with running(bus, "ordered", brokers=kafka.bootstrap) as source:
                await until(lambda: len(bus.events) == 300)
                await topic.committed({0: 100, 1: 100, 2: 100})
                state = source.state()
                assert (state.connected, state.received, state.published, state.reason) == (True, 300, 300, "")
            for key in range(3):
                mine = [event["data"] for event in bus.events if event["partitionkey"] == f"k{key}"]
                assert mine == list(range(key, 300, 3))
            assert bus.events[0]["type"] == "io.evoke.kafka.record"
            assert bus.events[0]["source"] == "kafka://stock/ordered"

    asyncio.run(scenario())


@broker
def test_nothing_is_committed_while_the_bus_is_away(kafka: Kafka) -> None:
    """The source is killed with records in its hands; whoever has it next goes on with them, in order."""

    async def scenario() -> None:
        async with foreign(kafka, "away") as topic:
            bus = Bus()
            for number in range(5):
                await topic.put(number)
            async with running(bus, "away", brokers=kafka.bootstrap):
                await topic.committed({0: 5})
                bus.down = True
                for number in range(5, 10):
                    await topic.put(number)
            async with running(bus, "away", brokers=kafka.bootstrap) as source:
                await until(lambda: source.state().received == 5)
                assert await topic.floors() == {0: 5}
                bus.down = False
                await topic.committed({0: 10})
            assert bus.data() == list(range(10))

    asyncio.run(scenario())


@broker
def test_a_new_group_begins_at_new_records_once(kafka: Kafka) -> None:
    async def scenario() -> None:
        async with foreign(kafka, "fresh") as topic:
            await topic.put(0)
            bus = Bus()
            options = {"brokers": kafka.bootstrap, "start": "new", "consumerGroup": "own-group"}
            async with running(bus, "fresh", **options):
                await topic.committed({0: 1}, "own-group")
            await topic.put(1)
            async with running(bus, "fresh", **options):
                await until(lambda: bus.data() == [1])

    asyncio.run(scenario())


@broker
def test_the_next_owner_replaces_the_one_before(kafka: Kafka) -> None:
    async def scenario() -> None:
        async with foreign(kafka, "moved") as topic:
            bus = Bus()
            async with (
                running(bus, "moved", brokers=kafka.bootstrap) as first,
                running(bus, "moved", brokers=kafka.bootstrap) as other,
            ):
                await until(lambda: "SessionTaken" in {first.state().reason, other.state().reason})
                for number in range(5):
                    await topic.put(number)
                await until(lambda: bus.data() == list(range(5)))
                assert {first.state().connected, other.state().connected} == {True, False}

    asyncio.run(scenario())


@broker
def test_bad_records_move_on(kafka: Kafka) -> None:
    async def scenario() -> None:
        async with foreign(kafka, "bad") as topic:
            structured = ("content-type", b"application/cloudevents+json")
            await topic.put(b"{}", headers=[structured])
            await topic.put(None, key=b"k")
            await topic.put(b"x", headers=[("ce_id", b"1"), ("ce_id", b"2"), ("ce_type", b"t")])
            await topic.put(b"x", headers=[("ce_id", b"\xff"), ("ce_type", b"t")])
            await topic.put(b'"%s"' % (b"x" * 2000))
            await topic.put(b'"last"')
            bus = Bus()
            async with running(bus, "bad", brokers=kafka.bootstrap) as source:
                await topic.committed({0: 6})
                assert "1 messages were rejected" in source.state().message
            rejected = "io.evoke.source.rejected"
            wanted = [rejected, "io.evoke.kafka.tombstone", rejected, rejected, rejected, "io.evoke.kafka.record"]
            assert [event["type"] for event in sorted(bus.events, key=lambda event: event["id"])] == wanted

    asyncio.run(scenario())


@broker
def test_a_killed_broker_and_its_return(tmp_path: Path) -> None:
    async def scenario() -> None:
        kafka = await asyncio.to_thread(start_kafka, tmp_path / "k")
        bus = Bus()
        try:
            async with foreign(kafka, "back") as topic:
                await topic.put(0)
                async with running(bus, "back", brokers=kafka.bootstrap) as source:
                    await until(lambda: bus.data() == [0])
                    await asyncio.to_thread(kafka.kill)
                    assert "nothing listens" in await reason(source, "ConnectionRefused")
                    await asyncio.to_thread(kafka.start)
                    await topic.put(1)
                    await until(lambda: bus.data() == [0, 1] and source.state().connected)
        finally:
            await asyncio.to_thread(kafka.stop)

    asyncio.run(scenario())


@broker
def test_credentials_and_tls(kafka: Kafka) -> None:
    async def scenario() -> None:
        async with foreign(kafka, "secured") as topic:
            await topic.put(1)
            sasl = {
                "brokers": kafka.address("SASL_PLAINTEXT"),
                "authRequired": "true",
                "tls": "false",
                "saslUsername": USER,
                "saslMechanism": "SCRAM-SHA-512",
            }
            async with running(Bus(), "secured", **sasl, saslPassword="wrong") as source:
                assert "wrong" not in await reason(source, "AuthFailed")
            bus = Bus()
            async with running(bus, "secured", **sasl, saslPassword=PASSWORD):
                await until(lambda: bus.data() == [1])
            tls = {"brokers": kafka.address("SSL"), "tls": "true"}
            async with running(Bus(), "secured", **tls) as source:
                await reason(source, "TLSFailed")
            bus = Bus()
            async with running(bus, "secured", **tls, caCert=kafka.authority.ca, consumerGroup="tls"):
                await until(lambda: bus.data() == [1])

    asyncio.run(scenario())


@broker
def test_other_troubles_have_other_names(kafka: Kafka) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        server = await asyncio.start_server(other, LOOPBACK, 0)
        port = server.sockets[0].getsockname()[1]
        async with running(Bus(), "t", brokers=f"{LOOPBACK}:{port}") as source:
            await reason(source, "NotABroker")
        server.close()
        async with running(Bus(), "t", brokers=f"{LOOPBACK}:{spare()}") as source:
            await reason(source, "ConnectionRefused")
        bus = Bus()
        async with running(bus, "later", brokers=kafka.bootstrap) as source:
            assert "has no topic later" in await reason(source, "Missing")
            async with foreign(kafka, "later") as topic:
                await topic.put(1)
                await until(lambda: bus.data() == [1])

    asyncio.run(scenario())


@broker
def test_publishing_through_the_source(kafka: Kafka) -> None:
    async def scenario() -> None:
        async with foreign(kafka, "through"):
            bus = Bus()
            async with running(bus, "through", brokers=kafka.bootstrap, maxMessageBytes="100") as source:
                await until(lambda: source.state().connected)
                await source.publish("", b'"x"')
                await until(lambda: bus.data() == ["x"])
                with pytest.raises(SourceError, match="reads topic through"):
                    await source.publish("others", b"x")
                with pytest.raises(SourceError, match="maxMessageBytes"):
                    await source.publish("", b"x" * 101)

    asyncio.run(scenario())


def test_a_batch_that_cannot_be_unpacked_is_an_event() -> None:
    found = Found(Record("t", 0, 7, None, None, (), 0), "records 5 to 7 cannot be unpacked: no such codec")
    event = json.loads(brought(found, "stock").payload)
    assert (event["type"], event["id"]) == ("io.evoke.source.rejected", "t-0-7")
    assert "no such codec" in event["evokeerror"]
    assert "data" not in event


@pytest.mark.parametrize("type_", ["t", "io.evoke.cron.tick"])
def test_nobody_outside_speaks_for_the_platform(type_: str) -> None:
    value = b'{"specversion":"1.0","id":"7","source":"/s","type":"%s"}' % type_.encode()
    headers = [("content-type", b"application/cloudevents+json")]
    event = json.loads(brought(Found(Record("t", 0, 7, None, value, headers, 0), ""), "stock").payload)
    assert event["type"] == ("t" if type_ == "t" else "io.evoke.source.rejected")


@pytest.mark.parametrize("options", [{}, {"brokers": "k:9092"}, {"topic": "t"}])
def test_options_that_do_not_hold(options: dict[str, str]) -> None:
    with pytest.raises(BadSource):
        KafkaSource(Source(key=KEY, kind="kafka", bus=Key("shop", "default"), subject="s"), options)
