"""What only Kafka has: partitions, foreign records, transactions, retention, sessions that end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer

from eventbus import cloudevents, kafka_intake, kafka_names, kafka_stream, kafka_wire
from eventbus.bus import Attempt, EventBus, Incoming
from eventbus.errors import BusError, Fenced, Unreachable
from eventbus.kafka_group import Group
from eventbus.kafka_marks import LIMIT
from tests.contract.harness import TIMEOUT, Broker, Owner, event, fill, ids, letter_of, letters, settled
from tests.kafka import Kafka

pytestmark = pytest.mark.broker


@pytest.fixture
def broker(kafka: Kafka) -> Broker:
    return Broker("kafka", kafka.options, kafka)


@asynccontextmanager
async def foreign(broker: Broker, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Somebody else's producer."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.options["brokers"], **settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def make(bus: EventBus, topic: str, partitions: int = 1, **settings: str) -> None:
    """A topic as an operator makes it."""
    cluster = bus._cluster  # type: ignore[attr-defined]  # the connection there is
    await cluster.call(None, kafka_wire.create_topic(topic, partitions, settings))
    while len(await cluster.partitions(topic)) < partitions:  # noqa: ASYNC110  # nothing tells when
        await asyncio.sleep(0.02)
    while any(cluster.leader((topic, number)) is None for number in range(partitions)):
        await cluster.refresh()


async def put(producer: AIOKafkaProducer, values: Iterable[int], **more: Any) -> None:
    for number in values:
        await producer.send_and_wait("topic", event(number), headers=[STRUCTURED], **more)


STRUCTURED = ("content-type", b"application/cloudevents+json")


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

                patch.setattr("eventbus.kafka_batches.MemoryRecords", _spoiled(DefaultRecordBatch))
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


def test_what_retention_took_is_passed_over(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 1)
        await owner.take(1)
        await fill(bus, 9, first=1)
        await bus._topics.shorten({("topic", 0): 10})  # type: ignore[attr-defined]  # as the broker's cleaner does
        await fill(bus, 1, first=10)
        (late,) = await owner.take(1)
        with pytest.raises(BusError, match="no longer stored"):
            await owner.intake.read(0, 1)
        again = await Owner.open(bus, subscription)

        assert (ids([late]), late.seq) == ([10], 11)
        assert again.intake.progress.floors == {0: 10}

    broker.run(test)


def test_a_topic_that_was_made_again_starts_anew(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 10)
        events = await owner.take(10)
        await owner.intake.commit(0, events[-1].seq, [])
        assert await settled(bus, subscription, 0) == 0
        await bus._cluster.call(None, kafka_wire.delete_topics(["topic"]))  # type: ignore[attr-defined]  # an operator
        await make(bus, "topic")
        owner.intake.request(1)
        reason = await owner.until_lost()
        again = await Owner.open(bus, subscription)
        await fill(bus, 1, first=50)

        assert "made again" in reason
        assert ids(await again.take(1)) == [50]

    broker.run(test)


def test_a_session_that_ended_is_joined_again_at_the_same_epoch(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 4)
        events = await owner.take(2)
        group: Any = owner.intake._group  # type: ignore[attr-defined]  # whose session the coordinator drops
        member = group._member
        await Group(bus._cluster, kafka_names.group(subscription)).evict()  # type: ignore[attr-defined]  # as a timeout does
        await owner.intake.record_attempt(0, events[1].seq, Attempt(count=1, not_before=1.0))
        await owner.intake.commit(0, events[0].seq, [])
        assert await settled(bus, subscription, 3) == 3

        assert group._member != member
        assert owner.lost == []
        assert owner.intake.fresh
        assert ids(await owner.take(2)) == [2, 3]
        again = await Owner.open(bus, subscription)
        assert again.intake.progress.attempts.keys() == {(0, events[1].seq)}

    broker.run(test)


def test_an_owner_that_was_replaced_while_it_slept_writes_nothing(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 4)
        events = await first.take(4)
        second = await Owner.open(await broker.connect(), subscription)
        with pytest.raises(Fenced):
            await first.intake.record_attempt(0, events[0].seq, Attempt(count=1, not_before=1.0))
        third = await Owner.open(await broker.connect(), subscription)

        assert third.intake.progress.attempts == {}
        assert third.intake.epoch > second.intake.epoch
        assert await second.until_lost()

    broker.run(test)


def test_the_largest_progress_is_taken_by_the_broker(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await asyncio.gather(*(bus.publish("topic", event(number)) for number in range(3000)))
        done = {seq for seq in range(2, 20_000) if hash((seq, "x")) % 2 or seq % 7 == 0}
        for seq in range(3, 3 + 70):
            owner.intake._shares.each[0].attempts[seq] = Attempt(count=2, not_before=1.8e9, error="x" * 100)  # type: ignore[attr-defined]  # one write for all
        await owner.intake.commit(0, 0, [seq for seq in done if not 3 <= seq < 73])
        await owner.intake.record_attempt(0, 3, Attempt(count=9, not_before=1.8e9, error="boom"))
        second = await Owner.open(await broker.connect(), subscription)

        assert set(second.intake.progress.done[0]) == {seq for seq in done if not 3 <= seq < 73}
        assert len(second.intake.progress.attempts) >= 64
        assert second.intake.progress.attempts[0, 3].count == 9
        group: Any = second.intake._group  # type: ignore[attr-defined]  # our membership, somebody else's text
        marks = {("topic", 0): (0, "m" * (LIMIT + 1))}
        request = kafka_wire.commit(group.name, group._generation, group._member, kafka_names.INSTANCE, marks)
        with pytest.raises(BusError, match=r"\(12\)"):  # OFFSET_METADATA_TOO_LARGE
            await group._call(request, lambda answer: answer.topics[0][1][0][1])

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


def test_a_letter_stored_twice_is_listed_once_and_replays_count_as_lag(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 1)
        (dead,) = await owner.take(1)
        for _ in range(3):
            await owner.intake.dead_letter(letter_of(subscription, dead), 0, dead.seq)
        await owner.intake.commit(0, dead.seq, [])
        assert await settled(bus, subscription, 0) == 0
        (letter,) = await letters(bus, subscription)
        other = await broker.connect()
        await other.replay(letter)

        assert await settled(bus, subscription, 1) == 1
        (again,) = await owner.take(1)
        assert again.share == kafka_names.REPLAYS
        await owner.intake.commit(again.share, again.seq, [])
        assert await settled(bus, subscription, 0) == 0
        assert await letters(bus, subscription) == []

    broker.run(test)


def test_a_subscription_that_was_forgotten_gets_no_replay_of_the_one_before(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription(start="new")
        owner = await Owner.open(bus, subscription)
        await fill(bus, 1)
        (dead,) = await owner.take(1)
        await owner.intake.dead_letter(letter_of(subscription, dead), 0, dead.seq)
        await owner.intake.close()
        await bus.replay((await letters(bus, subscription))[0])
        assert await settled(bus, subscription, 2) == 2
        await bus.forget(subscription)
        again = await Owner.open(bus, subscription)
        await fill(bus, 1, first=1)

        assert ids(await again.take(1)) == [1]
        assert await bus.lag(subscription) == 1

    broker.run(test)


def test_a_topic_that_takes_less_says_so(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        from eventbus.errors import TooLarge

        await make(bus, "topic", **{"max.message.bytes": "5000"})
        answers = await asyncio.gather(
            *(bus.publish("topic", event(number, size=size)) for number, size in enumerate([2000, 9000, 2000, 2000])),
            return_exceptions=True,
        )
        owner = await Owner.open(bus, broker.subscription())

        assert [type(answer) for answer in answers] == [type(None), TooLarge, type(None), type(None)]
        assert ids(await owner.take(3)) == [0, 2, 3]

    broker.run(test)


def test_publishes_go_on_after_one_was_given_up(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        bus._deadline = 0.3  # type: ignore[attr-defined]  # nine seconds are long for a test
        broker.server.freeze()
        try:
            with pytest.raises(Unreachable):
                await bus.publish("topic", event(1))
        finally:
            broker.server.thaw()
        bus._deadline = 9.0  # type: ignore[attr-defined]  # as it was
        await fill(bus, 20, first=2)
        owner = await Owner.open(bus, broker.subscription())
        owner.intake.request(30)
        await owner.wait(lambda: owner.events and ids(owner.events)[-1] == 21)
        got: list[Incoming] = owner.events

        assert [number for number in ids(got) if number != 1] == [0, *range(2, 22)]

    broker.run(test)


def test_ownership_that_cannot_be_renewed_is_not_fresh(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka_intake, "FRESH", 0.0)

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())

        assert not owner.intake.fresh

    broker.run(test)
