"""One owner at a time, at an epoch; what it wrote is what the next one finds."""

from __future__ import annotations

import asyncio
import time

import pytest

from eventbus.bus import Attempt, EventBus
from eventbus.errors import Fenced, LagUnknown
from tests.contract.harness import Broker, Owner, fill, ids, settled


def test_a_new_owner_takes_over_floor_done_and_attempts(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 10)
        seqs = [e.seq for e in await first.take(10)]
        await first.intake.commit(0, seqs[3], [seqs[5], seqs[7]])
        await first.intake.record_attempt(0, seqs[4], Attempt(count=2, not_before=7.5, error="boom"))
        await first.intake.record_attempt(0, seqs[1], Attempt(count=1, not_before=1.0))
        await asyncio.sleep(0 if broker.kind == "memory" else 1.2)  # the done map is written once a second
        second = await Owner.open(await broker.connect(), subscription)
        progress = second.intake.progress
        reason = await first.until_lost()
        again = await second.take(6)

        assert second.intake.epoch > first.intake.epoch
        assert progress.floors == {0: seqs[3]}
        assert set(progress.done[0]) == {seqs[5], seqs[7]}
        assert progress.attempts == {(0, seqs[4]): Attempt(count=2, not_before=7.5, error="boom")}
        assert [e.seq for e in again] == seqs[4:]
        assert "another owner" in reason
        assert not first.intake.fresh
        assert second.intake.fresh

    broker.run(test)


def test_a_stale_owner_moves_nothing(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 10)
        seqs = [e.seq for e in await first.take(10)]
        second = await Owner.open(await broker.connect(), subscription)
        await first.intake.commit(0, seqs[9], [])
        first.intake.request(5)
        again = await second.take(10)
        await second.intake.commit(0, seqs[1], [])
        lag = await settled(bus, subscription, 8)
        await first.until_lost()

        assert ids(again) == list(range(10))
        assert lag == 8
        assert len(first.events) == 10
        with pytest.raises(Fenced):
            await first.intake.record_attempt(0, seqs[2], Attempt(count=1, not_before=0))

    broker.run(test)


def test_closing_hands_on_exactly(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 6)
        seqs = [e.seq for e in await first.take(6)]
        await first.intake.commit(0, seqs[1], [seqs[3]])
        await first.intake.close()
        second = await Owner.open(bus, subscription)

        assert second.intake.progress.floors == {0: seqs[1]}
        assert set(second.intake.progress.done[0]) == {seqs[3]}
        assert first.lost == []

    broker.run(test)


def test_commit_never_moves_back(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription()
        first = await Owner.open(bus, subscription)
        await fill(bus, 6)
        seqs = [e.seq for e in await first.take(6)]
        await first.intake.commit(0, seqs[4], [])
        await first.intake.commit(0, seqs[2], [])
        await first.intake.commit(0, seqs[4], [])
        await first.intake.close()
        second = await Owner.open(bus, subscription)

        assert second.intake.progress.floors == {0: seqs[4]}

    broker.run(test)


@pytest.mark.parametrize(("start", "expected"), [("all", [0, 1, 2, 3]), ("new", [2, 3]), ("resume", [2, 3])])
def test_start_policy_counts_only_without_progress(broker: Broker, start: str, expected: list[int]) -> None:
    async def test(bus: EventBus) -> None:
        await fill(bus, 2)
        subscription = broker.subscription(start=start)
        first = await Owner.open(bus, subscription)
        await fill(bus, 2, first=2)
        events = await first.take(len(expected))
        await first.intake.commit(0, events[0].seq, [])
        await first.intake.close()
        second = await Owner.open(bus, subscription)

        assert ids(events) == expected
        assert ids(await second.take(len(expected) - 1)) == expected[1:]

    broker.run(test)


def test_a_forgotten_subscription_starts_anew(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription(start="new")
        owner = await Owner.open(bus, subscription)
        await fill(bus, 4)
        events = await owner.take(4)
        await owner.intake.commit(0, events[0].seq, [events[2].seq])
        await owner.intake.record_attempt(0, events[1].seq, Attempt(count=1, not_before=0))
        await bus.forget(subscription)
        await owner.until_lost()
        with pytest.raises(LagUnknown):
            await bus.lag(subscription)
        again = await Owner.open(bus, subscription)
        await fill(bus, 1, first=4)

        assert again.intake.progress.attempts == {}
        assert ids(await again.take(1)) == [4]
        assert again.intake.epoch > owner.intake.epoch

    broker.run(test)


def test_a_forgotten_subscription_that_resumes_goes_on(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = broker.subscription(start="resume")
        owner = await Owner.open(bus, subscription)
        await fill(bus, 4)
        events = await owner.take(4)
        await owner.intake.commit(0, events[1].seq, [])
        await owner.intake.close()
        await bus.forget(subscription)
        again = await Owner.open(bus, subscription)

        assert ids(await again.take(2)) == [2, 3]

    broker.run(test)


def test_two_takers_at_once_leave_one_owner(brokered: Broker) -> None:
    async def test(bus: EventBus) -> None:
        buses = [bus, *[await brokered.connect() for _ in range(3)]]
        await fill(bus, 5)
        subscription = brokered.subscription()
        opened = await asyncio.gather(*(Owner.open(one, subscription) for one in buses), return_exceptions=True)
        owners = [owner for owner in opened if isinstance(owner, Owner)]
        assert all(isinstance(other, Owner | Fenced) for other in opened)
        assert owners
        winner = max(owners, key=lambda owner: owner.intake.epoch)
        for owner in owners:
            if owner is not winner:
                await owner.until_lost()

        assert ids(await winner.take(5)) == list(range(5))
        assert winner.lost == []

    brokered.run(test)


def test_an_owner_whose_loop_stood_still_goes_on_where_it_was(broker: Broker) -> None:
    """Nobody took over meanwhile: same epoch, fresh again, and nothing is delivered twice."""

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription())
        await fill(bus, 20)
        events = await owner.take(10)
        epoch = owner.intake.epoch
        owner.intake.request(10)
        time.sleep(6.0)  # noqa: ASYNC251  # the loop is to stand still, longer than a renewal is good for
        assert owner.intake.fresh or broker.kind != "memory"
        async with asyncio.timeout(10.0):
            while not owner.intake.fresh:  # noqa: ASYNC110  # nothing tells when
                await asyncio.sleep(0.01)
        await owner.wait(lambda: len(owner.events) >= 20)
        await owner.intake.commit(0, events[-1].seq, [])

        assert ids(owner.events) == list(range(20))
        assert owner.intake.epoch == epoch
        assert not owner.lost

    broker.run(test)
