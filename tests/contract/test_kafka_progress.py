"""Ownership and progress on Kafka: sessions that end, topics that change below them, the largest commit."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from eventbus.bus import Attempt, EventBus, Incoming
from eventbus.errors import BusError, Fenced, Unreachable
from eventbus.kafka import intake as kafka_intake
from eventbus.kafka import names as kafka_names
from eventbus.kafka import wire as kafka_wire
from eventbus.kafka.group import Group
from eventbus.kafka.marks import LIMIT
from tests.contract.harness import Broker, Owner, event, fill, ids, letter_of, letters, settled
from tests.contract.strangers import make
from tests.kafka import Kafka, delete_topics

pytestmark = pytest.mark.broker


@pytest.fixture
def broker(kafka: Kafka) -> Broker:
    return Broker("kafka", kafka.options, kafka)


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
        await bus._cluster.call(None, delete_topics(["topic"]))  # type: ignore[attr-defined]  # an operator
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
        done = {seq for seq in range(2, 20_000) if seq * 2_654_435_761 >> 7 & 1 or seq % 7 == 0}
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


def test_a_new_owner_knows_what_the_one_before_has_seen(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        for number in range(3):
            await bus.publish("topic", event(number), dedupe=f"id-{number}")
        events = await first.take(3)
        await first.intake.commit(0, events[1].seq, [])
        assert await settled(bus, subscription, 1) == 1
        second = await Owner.open(await broker.connect(), subscription)
        for number in (0, 1, 2, 3):
            await bus.publish("topic", event(number), dedupe=f"id-{number}")

        assert ids(await second.take(2)) == [2, 3]
        assert await second.intake.pending() == 0

    broker.run(test)
