"""What only Kafka has: partitions, codecs, foreign records, transactions."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.kafka import stream as kafka_stream
from tests.contract.harness import TIMEOUT, Broker, Owner, event, fill, ids, settled
from tests.contract.strangers import STRUCTURED, foreign, make, put
from tests.kafka import Kafka

pytestmark = pytest.mark.broker


@pytest.fixture
def broker(kafka: Kafka) -> Broker:
    return Broker("kafka", kafka.options, kafka)


def test_every_partition_is_a_share_and_keys_stay_in_theirs(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await make(bus, "topic", 3)
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await asyncio.gather(*(bus.publish("topic", event(number, key=f"k{number % 5}")) for number in range(60)))
        events = await owner.take(60)

        assert sorted(ids(events)) == list(range(60))
        for key in range(5):
            mine = [one for one in events if one.key == f"k{key}"]
            assert len({one.share for one in mine}) == 1
            assert ids(mine) == sorted(ids(mine))
        assert await bus.lag(subscription) == 60
        last = {one.share: one.seq for one in events}
        assert set(last) <= {0, 1, 2}
        for share, seq in last.items():
            await owner.intake.commit(share, seq, [])
        assert await settled(bus, subscription, 0) == 0

    broker.run(test)


def test_events_without_a_key_use_every_partition(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await make(bus, "topic", 3)
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 9)

        assert {one.share for one in await owner.take(9)} == {0, 1, 2}

    broker.run(test)


def test_keys_meet_those_of_kafkas_own_producers(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await make(bus, "topic", 7)
        owner = await Owner.open(bus, broker.subscription())
        async with foreign(broker) as producer:
            for number in range(20):
                key = f"key-{number}"
                await bus.publish("topic", event(number, key=key))
                await put(producer, [number + 100], key=key.encode())
        events = await owner.take(40)
        shares: dict[str, set[int]] = {}
        for one in events:
            shares.setdefault(one.key, set()).add(one.share)

        assert {len(found) for found in shares.values()} == {1}
        assert len({share for found in shares.values() for share in found}) > 1

    broker.run(test)


def test_partitions_that_appear_later_are_read_from_their_start(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        from aiokafka.admin import AIOKafkaAdminClient, NewPartitions

        await make(bus, "topic", 1)
        subscription = broker.subscription(start="new")
        owner = await Owner.open(bus, subscription)
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.options["brokers"])
        await admin.start()
        await admin.create_partitions({"topic": NewPartitions(3)})
        await admin.close()
        async with foreign(broker) as producer:
            await put(producer, [7], partition=2)
        owner.intake.request(10)
        await owner.wait(lambda: owner.events)
        (only,) = owner.events

        assert (only.share, only.seq, ids([only])) == (2, 1, [7])
        await owner.intake.commit(2, 1, [])
        assert await settled(bus, subscription, 0) == 0
        async with asyncio.timeout(TIMEOUT):
            while {one.share for one in owner.events} != {0, 1, 2}:  # publishers see them too, in their own time
                before = len(owner.events)
                owner.intake.request(3)
                await fill(bus, 3)
                await owner.wait(lambda before=before: len(owner.events) >= before + 3)  # type: ignore[misc]  # a default binds the round

    broker.run(test)


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_compressed_batches_are_read(broker: Broker, codec: str) -> None:
    async def test(bus: EventBus) -> None:
        await make(bus, "topic")
        owner = await Owner.open(bus, broker.subscription())
        async with foreign(broker, compression_type=codec, linger_ms=20) as producer:
            await asyncio.gather(*(put(producer, [number]) for number in range(50)))

        assert sorted(ids(await owner.take(50))) == list(range(50))

    broker.run(test)


def test_foreign_records_are_events_or_say_why_not(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await make(bus, "topic")
        owner = await Owner.open(bus, broker.subscription())
        binary = [("ce_specversion", b"1.0"), ("ce_id", b"1"), ("ce_source", b"/s"), ("ce_type", b"t")]
        async with foreign(broker) as producer:
            await producer.send_and_wait("topic", b'{"n": 1}', key=b"k")
            await producer.send_and_wait("topic", b"text", headers=binary)
            await producer.send_and_wait("topic", None, key=b"gone")
            await producer.send_and_wait("topic", b"{}", headers=[STRUCTURED])
            await put(producer, [4])
        plain, bound, tombstone, broken, good = await owner.take(5)

        assert cloudevents.heading(plain.payload).id == "topic-0-0"
        assert cloudevents.heading(plain.payload).source == "kafka://default/topic"
        assert plain.key == "k"
        assert cloudevents.heading(bound.payload).id == "1"
        assert (tombstone.payload, "record topic-0-2: a tombstone" in tombstone.flaw) == (b"", True)
        assert (broken.payload, "record topic-0-3: " in broken.flaw) == (b"{}", True)
        assert await owner.intake.read(0, broken.seq) == b"{}"
        assert (ids([good]), good.flaw) == ([4], "")

    broker.run(test)


def test_a_batch_that_cannot_be_unpacked_is_one_flaw(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await bus.publish("topic", event(0))
        await owner.take(1)
        async with foreign(broker, compression_type="gzip", linger_ms=50) as producer:
            with monkeypatch.context() as patch:
                from aiokafka.record.default_records import DefaultRecordBatch

                patch.setattr("eventbus.kafka.batches.MemoryRecords", _spoiled(DefaultRecordBatch))
                await asyncio.gather(*(put(producer, [number]) for number in (1, 2)))
                (flawed,) = await owner.take(1)
            await put(producer, [3])
        (good,) = await owner.take(1)

        assert "cannot be unpacked: no such codec" in flawed.flaw
        assert ids([good]) == [3]
        assert good.seq == flawed.seq + 1

    broker.run(test)


def _spoiled(batch_type: type) -> type:
    """Record batches as from a producer with a codec of its own."""
    from aiokafka.record.memory_records import MemoryRecords

    class Spoiled:
        def __init__(self, data: bytes) -> None:
            self._records = MemoryRecords(data)

        def has_next(self) -> bool:
            return bool(self._records.has_next())

        def next_batch(self) -> Any:
            batch = self._records.next_batch()

            class One:
                base_offset, next_offset = batch.base_offset, batch.next_offset
                is_control_batch = is_transactional = False

                def validate_crc(self) -> bool:
                    raise NotImplementedError("no such codec")

            return One()

    return Spoiled


def test_aborted_transactions_are_not_seen_and_markers_do_not_stay_lag(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await make(bus, "topic")
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        async with foreign(broker, transactional_id="t") as producer:
            async with producer.transaction():
                await put(producer, [1])
            await producer.begin_transaction()
            await put(producer, [2])
            await producer.abort_transaction()
            async with producer.transaction():
                await put(producer, [3])
        events = await owner.take(2)
        await owner.intake.commit(0, events[-1].seq, [])
        owner.intake.request(1)  # somebody must look behind the last marker

        assert ids(events) == [1, 3]
        assert await settled(bus, subscription, 0) == 0
        assert await owner.intake.pending() == 0

    broker.run(test)


def test_a_hot_partition_does_not_wait_for_an_empty_one(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_stream, "WAIT", 30_000)
    monkeypatch.setattr(kafka_stream, "PARTITION_BYTES", 4096)

    async def test(bus: EventBus) -> None:
        await make(bus, "topic", 4)
        owner = await Owner.open(bus, broker.subscription())
        await asyncio.gather(*(bus.publish("topic", event(number, key="hot")) for number in range(300)))

        assert ids(await owner.take(300)) == list(range(300))

    broker.run(test)


def test_nothing_is_fetched_without_demand(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 20)
        await owner.take(3)
        stream = owner.intake._stream  # type: ignore[attr-defined]  # what it holds beside what was asked for
        held = sum(len(part.held) for part in stream.parts.values())
        await fill(bus, 20, first=20)
        assert await owner.intake.pending() == 37
        assert sum(len(part.held) for part in stream.parts.values()) == held

    broker.run(test)
