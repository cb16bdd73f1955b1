"""What a broker that is killed, frozen or changed by hand does to JetStream owners and publishers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from api.meta import Key
from api.model import Bus
from eventbus.bus import EventBus
from eventbus.connect import connect
from eventbus.errors import AuthFailed, Unreachable
from eventbus.jetstream import intake, pulls
from tests.brokers import Nats
from tests.contract.harness import TIMEOUT, Broker, Owner, event, fill, ids, plain, publish_surely, settled


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


def test_what_is_published_while_the_connection_breaks_does_not_overtake(real: Broker) -> None:
    """Between the end of a connection and the library's word of it there is a moment in which it only buffers."""

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, real.subscription())
        owner.intake.request(100)
        await bus.publish("topic", event(0), dedupe="d0")
        client: Any = bus._connection._client  # type: ignore[attr-defined]  # to be there in that moment
        transport, closed = client._transport, client._transport.wait_closed
        publishing: list[asyncio.Task[None]] = []

        def publish(numbers: range) -> None:
            publishing.extend(
                asyncio.create_task(bus.publish("topic", event(number), dedupe=f"d{number}")) for number in numbers
            )

        async def closing() -> None:
            publish(range(6, 11))
            for _ in range(5):
                await asyncio.sleep(0)
            await closed()

        transport.wait_closed = closing
        await asyncio.to_thread(real.server.freeze)
        publish(range(1, 6))
        waiting: Any = bus._publisher._waiting  # type: ignore[attr-defined]  # until all of them are on the wire
        while len(waiting) < 5 or client.pending_data_size:  # noqa: ASYNC110  # the library tells nobody
            await asyncio.sleep(0)
        await asyncio.to_thread(real.server.restart)
        await asyncio.gather(*publishing)
        await owner.wait(lambda: len(owner.events) >= 11)

        assert len(publishing) == 10
        assert ids(owner.events) == list(range(11))

    real.run(test)
