"""What a broker that is killed, frozen or changed by hand does to JetStream owners and publishers."""

from __future__ import annotations

import asyncio

import pytest

from api.meta import Key
from api.model import Bus
from eventbus import intake, pulls
from eventbus.bus import Attempt, EventBus
from eventbus.connect import connect
from eventbus.errors import AuthFailed, Unreachable
from tests.brokers import Nats
from tests.contract.harness import TIMEOUT, Broker, Owner, event, fill, ids, plain, publish_surely, settled


@pytest.mark.broker
def test_a_killed_broker_loses_nothing_and_repeats_nothing(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        epoch = owner.intake.epoch
        owner.intake.request(2000)
        for round_ in range(3):
            first = round_ * 300
            publishing = asyncio.gather(*(publish_surely(bus, number) for number in range(first, first + 300)))
            await owner.wait(lambda first=first: len(owner.events) > first + 20)  # type: ignore[misc]  # a default binds the round
            await owner.intake.commit(0, owner.events[first].seq, [owner.events[first + 10].seq])
            await asyncio.to_thread(server.restart)
            await publishing
            await owner.wait(lambda first=first: len(owner.events) >= first + 300)  # type: ignore[misc]  # a default binds the round
        assert ids(owner.events) == list(range(900))
        assert owner.lost == []
        assert owner.intake.epoch == epoch
        assert owner.intake.outstanding() == 2000 - 900
        await owner.intake.commit(0, owner.events[-1].seq, [])
        assert await settled(bus, subscription, 0) == 0
        assert owner.intake.fresh

    real.run(test)


@pytest.mark.broker
@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("all", [0, 1, 2, 3, 4]),
        ("new", [4]),
        ("last", [3, 4]),
        ("sequence:3", [2, 3, 4]),
        ("sequence:99", [4]),
        ("time:0", [0, 1, 2, 3, 4]),
        ("time:9999999999", [4]),
        ("ago:3600", [0, 1, 2, 3, 4]),
        ("ago:0", [4]),
    ],
)
def test_a_bus_says_where_subscribers_start(real: Broker, start: str, expected: list[int]) -> None:
    real.options["start"] = start

    async def test(bus: EventBus) -> None:
        await fill(bus, 4)
        owner = await Owner.open(bus, real.subscription(start="new"))
        await fill(bus, 1, first=4)
        assert ids(await owner.take(len(expected))) == expected

    real.run(test)


@pytest.mark.broker
def test_progress_survives_a_killed_broker(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 20)
        seqs = [e.seq for e in await owner.take(20)]
        await owner.intake.commit(0, seqs[4], [seqs[6]])
        await owner.intake.record_attempt(0, seqs[5], Attempt(count=1, not_before=1.0))
        await owner.intake.close()
        await asyncio.to_thread(server.restart)
        next_ = await Owner.open(await real.connect(), subscription)

        assert next_.intake.progress.floors == {0: seqs[4]}
        assert set(next_.intake.progress.done[0]) == {seqs[6]}
        assert next_.intake.progress.attempts == {(0, seqs[5]): Attempt(count=1, not_before=1.0)}
        assert [e.seq for e in await next_.take(15)] == seqs[5:]

    real.run(test)


@pytest.mark.broker
def test_publishes_overlapping_a_restart_keep_their_order(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        publishing = [asyncio.create_task(publish_surely(bus, number)) for number in range(1, 200)]
        await asyncio.to_thread(server.restart)
        publishing += [asyncio.create_task(publish_surely(bus, number)) for number in range(200, 300)]
        await asyncio.gather(*publishing)
        owner = await Owner.open(bus, real.subscription())

        assert ids(await owner.take(300)) == list(range(300))

    real.run(test)


@pytest.mark.broker
def test_publishing_to_a_silent_broker_ends_within_the_deadline(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        bus._publisher._deadline = 0.3  # type: ignore[attr-defined]  # nine seconds are long for a test
        await bus.publish("topic", event(0))
        server.freeze()
        try:
            with pytest.raises(Unreachable, match="did not acknowledge"):
                await bus.publish("topic", event(1))
        finally:
            server.thaw()
        await bus.publish("topic", event(2))

    real.run(test)


@pytest.mark.broker
def test_an_owner_is_no_longer_fresh_when_the_broker_is_away(
    real: Broker, server: Nats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "FRESH", 0.0)

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())

        assert not owner.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_a_question_ends_with_the_connection_it_was_asked_on(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        server.freeze()
        asking = asyncio.create_task(bus.lag(subscription))
        await asyncio.sleep(0)
        await asyncio.to_thread(server.restart)
        async with asyncio.timeout(3):
            with pytest.raises(Unreachable, match="broke before the answer"):
                await asking
        await fill(bus, 1)
        await owner.take(1)

        assert owner.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_asking_before_connecting_says_so(server: Nats) -> None:
    bus = connect(Bus(key=Key("x", "default"), kind="nats", options=dict(server.options)), plain)

    with pytest.raises(Unreachable, match="not connected yet"):
        asyncio.run(bus.publish("topic", event(0)))


@pytest.mark.broker
def test_a_pull_that_expired_is_asked_again(real: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pulls, "EXPIRES", 0.5)
    monkeypatch.setattr(pulls, "HEARTBEAT", 0.2)

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        owner.intake.request(10)
        await asyncio.sleep(1.2)  # two pulls' life
        await fill(bus, 4)
        await owner.wait(lambda: len(owner.events) == 4)

        assert owner.intake.outstanding() == 6

    real.run(test)


@pytest.mark.broker
def test_events_larger_than_one_pull_arrive(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        for number in range(5):
            await bus.publish("topic", event(number, size=3 << 20))
        owner.intake.request(10)
        await owner.wait(lambda: len(owner.events) == 5)

        assert owner.intake.outstanding() == 5
        assert await owner.intake.pending() == 0

    real.run(test)


@pytest.mark.broker
def test_a_sleeper_is_woken_for_what_was_published_while_it_was_cut_off(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        rung = asyncio.Event()
        assert await owner.intake.arm(rung.set) == 0
        await asyncio.to_thread(server.restart)
        async with asyncio.timeout(TIMEOUT):
            await rung.wait()

    real.run(test)


@pytest.mark.broker
def test_a_consumer_deleted_by_hand_is_made_again(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 6)
        events = await owner.take(3)
        await owner.intake.commit(0, events[0].seq, [])
        owner.intake.request(10)
        await owner.wait(lambda: len(owner.events) == 6)
        held = owner.intake
        await held._js.delete_consumer(held._stream, held._consumer)  # type: ignore[attr-defined]  # as an operator would
        await fill(bus, 2, first=6)
        await owner.wait(lambda: len(owner.events) == 8)
        await owner.intake.commit(0, owner.events[6].seq, [])

        assert ids(owner.events) == list(range(8))
        assert await settled(bus, subscription, 1) == 1

    real.run(test)


@pytest.mark.broker
def test_a_connection_ended_for_good_is_made_anew(real: Broker) -> None:
    async def test(bus: EventBus) -> None:
        subscription = real.subscription()
        owner = await Owner.open(bus, subscription)
        await fill(bus, 3)
        await owner.take(1)
        await bus._connection._client._process_err("'slow consumer'")  # type: ignore[attr-defined]  # what the library does on -ERR
        reason = await owner.until_lost()
        await publish_surely(bus, 3)
        again = await Owner.open(bus, subscription)

        assert "slow consumer" in reason
        assert ids(await again.take(4)) == [0, 1, 2, 3]
        assert again.intake.fresh

    real.run(test)


@pytest.mark.broker
def test_closing_answers_what_waits(real: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("topic", event(0))
        server.freeze()
        try:
            publishing = asyncio.create_task(bus.publish("topic", event(1)))
            await asyncio.sleep(0)
            await bus.close()
            with pytest.raises(Unreachable):
                await publishing
        finally:
            server.thaw()

    real.run(test)


@pytest.mark.broker
def test_wrong_credentials_and_nobody_there_say_so(server: Nats) -> None:
    async def test() -> None:
        for options, error in (
            ({**server.options, "password": "guess"}, AuthFailed),
            ({**server.options, "url": "nats://127.0.0.1:1"}, Unreachable),
        ):
            bus = connect(Bus(key=Key("x", "default"), kind="nats", options=dict(options)), plain)
            with pytest.raises(error):
                await bus.connect()
            await bus.close()

    asyncio.run(test())
