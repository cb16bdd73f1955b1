"""Events come as published, in order, as many as were asked for, and none slips past the doorbell."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest

from api.meta import Key
from api.model import Bus
from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.connect import NotYet, connect
from eventbus.errors import Missing, Refused, TooLarge
from tests.contract.harness import Broker, Owner, event, fill, ids, plain


def test_events_arrive_in_the_order_of_their_publishing(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 500)
        events = await owner.take(500)

        assert ids(events) == list(range(500))
        assert [e.seq for e in events] == sorted(e.seq for e in events)
        assert owner.intake.outstanding() == 0

    broker.run(test)


def test_no_more_arrives_than_was_asked_for(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 20)
        await owner.take(3)
        owner.intake.request(4)
        await owner.take(3)
        pending = await owner.intake.pending()

        assert ids(owner.events) == list(range(10))
        assert pending == 10

    broker.run(test)


def test_keys_and_payload_come_as_published(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        before = datetime.now(UTC).timestamp()
        await bus.publish("topic", event(0, "a"))
        await bus.publish("topic", event(1), key="b")
        await bus.publish("topic", event(2))
        events = await owner.take(3)

        assert [e.key for e in events] == ["a", "b", ""]
        assert events[0].payload.startswith(b'{"specversion"')
        assert cloudevents.ordering_key(events[1].payload) == "b"
        assert abs(events[0].published - before) < 5
        assert await owner.intake.read(0, events[2].seq) == events[2].payload

    broker.run(test)


def test_no_event_slips_past_the_doorbell(broker: Broker) -> None:
    rounds = 2000 if broker.kind == "memory" else 1000

    async def test(bus: EventBus) -> None:
        other = await broker.connect()
        owner = await Owner.open(bus, broker.subscription())
        rung = asyncio.Event()
        for number in range(rounds):
            rung.clear()
            publish = asyncio.create_task(other.publish("topic", event(number)))
            if number % 3 == 0:
                await asyncio.sleep(0)
            pending = await owner.intake.arm(rung.set)
            if pending == 0:
                async with asyncio.timeout(5):
                    await rung.wait()
            await owner.intake.disarm()
            await publish
            (taken,) = await owner.take(1)
            await owner.intake.commit(0, taken.seq, [])

        assert ids(owner.events) == list(range(rounds))

    broker.run(test)


def test_a_duplicate_is_absorbed(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        for number in (0, 0, 1, 0):
            await bus.publish("topic", event(number), dedupe=cloudevents.dedupe_id("/test", str(number)))
        await bus.publish("other", event(0), dedupe=cloudevents.dedupe_id("/test", "0"))

        assert ids(await owner.take(2)) == [0, 1]
        assert await owner.intake.pending() == 0

    broker.run(test)


def test_what_is_no_event_or_too_large_is_refused(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        with pytest.raises(cloudevents.Malformed):
            await bus.publish("topic", b"{}")
        with pytest.raises(TooLarge):
            await bus.publish("topic", event(0, size=5 << 20))
        await bus.publish("topic", event(1, size=3 << 20))
        owner = await Owner.open(bus, broker.subscription())

        assert ids(await owner.take(1)) == [1]

    broker.run(test)


def test_kinds_that_are_not_built_say_so() -> None:
    with pytest.raises(NotYet, match="pigeon"):
        connect(Bus(key=Key("x", "default"), kind="pigeon"), plain)  # type: ignore[arg-type]  # from a newer Evoke


def test_any_topic_name_works_or_is_refused(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        for subject in ("a.b.c", "A_b-c", "sensors/kitchen", "naïve topic", "x" * 300, "$SYS", "*", ".."):
            if broker.kind == "kafka" and not (subject.isascii() and subject[0].isalpha() and len(subject) == 5):
                with pytest.raises(Refused, match="is not a Kafka topic"):
                    await bus.publish(subject, event(0))
                with pytest.raises(Refused, match="is not a Kafka topic"):
                    await Owner.open(bus, broker.subscription(subject))
                continue
            if broker.kind == "jetstream" and subject not in {"A_b-c", "sensors/kitchen"}:
                with pytest.raises((Refused, Missing)):  # no stream of theirs has it
                    await bus._bus.publish(subject, event(0))  # type: ignore[attr-defined]  # past the bridges
                continue
            owner = await Owner.open(bus, broker.subscription(subject, start="new"))
            await fill(bus, 1, subject=subject)
            assert ids(await owner.take(1)) == [0], subject

    broker.run(test)
