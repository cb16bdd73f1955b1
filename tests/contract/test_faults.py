"""What owners and publishers see of a broker that is killed, frozen or far away: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from eventbus.bus import Attempt, EventBus
from eventbus.errors import Unreachable
from tests.contract.harness import (
    TIMEOUT,
    Broker,
    Owner,
    event,
    fill,
    ids,
    publish_surely,
    settled,
    tailing,
)


def test_a_killed_broker_loses_nothing_and_repeats_nothing(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = brokered.subscription()
        owner = await Owner.open(bus, subscription)
        epoch = owner.intake.epoch
        owner.intake.request(2000)
        for round_ in range(3):
            first = round_ * 300
            publishing = asyncio.gather(*(publish_surely(bus, number) for number in range(first, first + 300)))
            await owner.wait(lambda first=first: len(owner.events) > first + 20)  # type: ignore[misc]  # a default binds the round
            await owner.intake.commit(0, owner.events[first].seq, [owner.events[first + 10].seq])
            await asyncio.to_thread(brokered.server.restart)
            await publishing
            await owner.wait(lambda first=first: len(owner.events) >= first + 300)  # type: ignore[misc]  # a default binds the round
        assert ids(owner.events) == list(range(900))
        assert owner.lost == []
        assert owner.intake.epoch == epoch
        assert owner.intake.outstanding() == 2000 - 900
        await owner.intake.commit(0, owner.events[-1].seq, [])
        assert await settled(bus, subscription, 0) == 0
        assert owner.intake.fresh

    brokered.run(test)


def test_progress_survives_a_killed_broker(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = brokered.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 20)
        seqs = [e.seq for e in await owner.take(20)]
        await owner.intake.commit(0, seqs[4], [seqs[6]])
        await owner.intake.record_attempt(0, seqs[5], Attempt(count=1, not_before=1.0))
        await owner.intake.close()
        await asyncio.to_thread(brokered.server.restart)
        next_ = await Owner.open(await brokered.connect(), subscription)

        assert next_.intake.progress.floors == {0: seqs[4]}
        assert set(next_.intake.progress.done[0]) == {seqs[6]}
        assert next_.intake.progress.attempts == {(0, seqs[5]): Attempt(count=1, not_before=1.0)}
        assert [e.seq for e in await next_.take(15)] == seqs[5:]

    brokered.run(test)


def test_publishes_overlapping_a_restart_keep_their_order(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        publishing = [asyncio.create_task(publish_surely(bus, number)) for number in range(1, 200)]
        await asyncio.to_thread(brokered.server.restart)
        publishing += [asyncio.create_task(publish_surely(bus, number)) for number in range(200, 300)]
        await asyncio.gather(*publishing)
        owner = await Owner.open(bus, brokered.subscription())

        assert ids(await owner.take(300)) == list(range(300))

    brokered.run(test)


def test_publishing_to_a_silent_broker_ends_within_the_deadline(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        bus._publisher._deadline = 0.3  # type: ignore[attr-defined]  # nine seconds are long for a test
        await bus.publish("topic", event(0))
        brokered.server.freeze()
        try:
            with pytest.raises(Unreachable, match="did not acknowledge"):
                await bus.publish("topic", event(1))
        finally:
            brokered.server.thaw()
        await bus.publish("topic", event(2))

    brokered.run(test)


def test_events_larger_than_one_pull_arrive(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, brokered.subscription())
        for number in range(5):
            await bus.publish("topic", event(number, size=3 << 20))
        owner.intake.request(10)
        await owner.wait(lambda: len(owner.events) == 5)

        assert owner.intake.outstanding() == 5
        assert await owner.intake.pending() == 0

    brokered.run(test)


def test_closing_answers_what_waits(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        brokered.server.freeze()
        try:
            publishing = asyncio.create_task(bus.publish("topic", event(1)))
            await asyncio.sleep(0)
            await bus.close()
            with pytest.raises(Unreachable):
                await publishing
        finally:
            brokered.server.thaw()

    brokered.run(test)


def test_a_tail_goes_on_behind_a_restart(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        async with tailing(bus, "topic", datetime.now(UTC) - timedelta(minutes=1)) as tail:
            first = await anext(tail)
            await asyncio.to_thread(brokered.server.restart)
            await publish_surely(bus, 1)
            async with asyncio.timeout(TIMEOUT * 2):
                assert ids([first, await anext(tail)]) == [0, 1]

    brokered.run(test)
