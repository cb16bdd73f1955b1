"""Group commit: which publishes go alone and which together, and that neither loses, repeats or reorders any."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from typing import Any

import pytest

from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.errors import BusFull
from eventbus.jetstream import grouping
from eventbus.jetstream.api import Ack
from eventbus.jetstream.bus import JetStreamBus
from eventbus.jetstream.grouping import Lane, Publish
from eventbus.subjects import topic
from tests.brokers import Nats, start_nats
from tests.contract.harness import Broker, Owner, event, ids


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(test)


def publishes(lane: Lane, count: int, first: int = 0) -> list[Publish]:
    made = [Publish(str(number), "s", b"x", None, lane) for number in range(first, first + count)]
    for publish in made:
        lane.add(publish)
    return made


def drain(lane: Lane) -> list[list[str]]:
    """Everything that goes out now."""
    return [[publish.token for publish in out] for out in iter(lane.take, [])]


def test_few_go_singly_and_many_together() -> None:
    async def main() -> None:
        few, many = Lane(), Lane()
        publishes(few, grouping.FEW - 1)
        publishes(many, grouping.FEW)

        assert drain(few) == [[str(number)] for number in range(grouping.FEW - 1)]
        assert drain(many) == [[str(number) for number in range(grouping.FEW)]]

    run(main())


def test_a_lone_publish_goes_at_once_while_others_are_under_way() -> None:
    async def main() -> None:
        lane = Lane()
        publishes(lane, 1)
        assert drain(lane) == [["0"]]
        publishes(lane, 1, first=1)
        assert drain(lane) == [["1"]]

    run(main())


def test_only_a_lone_publish_is_not_kept_for_others() -> None:
    async def main() -> None:
        lane = Lane()
        assert lane.idle
        together = publishes(lane, grouping.FEW)
        assert not lane.idle
        drain(lane)
        for publish in together:
            publish.settle(Ack())
            lane.left(publish)
        assert not lane.idle  # they all come again in this turn
        (alone,) = publishes(lane, 1)
        drain(lane)
        lane.left(alone)
        assert lane.idle

    run(main())


def test_nothing_follows_a_batch_until_it_is_answered() -> None:
    async def main() -> None:
        lane = Lane()
        first = publishes(lane, grouping.BATCH + 1)
        assert [len(out) for out in drain(lane)] == [grouping.BATCH]
        for publish in first[: grouping.BATCH]:
            publish.settle(Ack())
            lane.left(publish)
        assert drain(lane) == [[str(grouping.BATCH)]]

    run(main())


def test_a_refused_batch_goes_singly_and_first() -> None:
    async def main() -> None:
        lane = Lane()
        publishes(lane, 20)
        drain(lane)
        publishes(lane, 1, first=20)
        lane.refused()

        assert drain(lane)[:20] == [[str(number)] for number in range(20)]

    run(main())


def test_a_batch_keeps_below_its_bytes() -> None:
    async def main() -> None:
        lane = Lane()
        for number in range(20):
            lane.add(Publish(str(number), "s", b"x" * (grouping.BATCH_BYTES // 15), None, lane))

        assert len(lane.take()) == 15

    run(main())


def test_what_was_given_up_while_it_waited_is_not_sent() -> None:
    async def main() -> None:
        lane = Lane()
        publishes(lane, 20)[3].answer.cancel()

        assert drain(lane) == [[str(number) for number in range(20) if number != 3]]

    run(main())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("grouping"))
    yield nats
    nats.stop()


@pytest.fixture
def broker(server: Nats) -> Broker:
    return Broker("nats", {**server.options, "durability": "sync"}, server)


async def publish(bus: EventBus, number: int) -> None:
    data = event(number)
    await bus.publish("topic", data, dedupe=cloudevents.dedupe_id("/test", str(number)))


async def batched(broker: Broker, bus: EventBus) -> int:
    """How many of the stored events came in a batch."""
    assert isinstance(bus, JetStreamBus)
    stream = topic(broker.key, "topic").stream
    js = bus._js
    state = (await js.stream_info(stream)).state
    found = 0
    for seq in range(state.first_seq, state.last_seq + 1):
        reply = await js.connection.request(f"$JS.API.DIRECT.GET.{stream}", b'{"seq":%d}' % seq)
        found += "Nats-Batch-Id" in (reply.headers or {})
    return found


async def stored(bus: EventBus, broker: Broker, count: int) -> list[int]:
    owner = await Owner.open(bus, broker.subscription())
    return ids(await owner.take(count))


@pytest.mark.broker
def test_publishes_that_overlap_share_a_batch_and_keep_their_order(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await publish(bus, 0)
        await asyncio.gather(*(publish(bus, number) for number in range(1, 351)))

        assert await stored(bus, broker, 351) == list(range(351))
        assert await batched(broker, bus) == 349  # the first of them met an idle topic

    broker.run(test)


@pytest.mark.broker
def test_a_duplicate_costs_its_batch_nothing_but_time(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await publish(bus, 3)
        await asyncio.gather(*(publish(bus, number) for number in range(150)))

        assert await stored(bus, broker, 150) == [3, *(number for number in range(150) if number != 3)]

    broker.run(test)


@pytest.mark.broker
def test_one_that_is_twice_in_a_batch_is_stored_once(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await asyncio.gather(*(publish(bus, number // 2) for number in range(60)))

        assert await stored(bus, broker, 30) == list(range(30))

    broker.run(test)


@pytest.mark.broker
def test_of_a_batch_that_does_not_fit_what_fits_is_stored(broker: Broker) -> None:
    broker.options["maxBytes"] = str(1 << 20)

    async def test(bus: EventBus) -> None:
        outputs = [bus.publish("topic", event(number, size=60_000), output=True) for number in range(30)]
        answers = await asyncio.gather(*outputs, return_exceptions=True)

        refused = [number for number, answer in enumerate(answers) if answer is not None]
        assert refused == list(range(refused[0], 30))
        assert all(isinstance(answers[number], BusFull) for number in refused)
        assert await stored(bus, broker, refused[0]) == list(range(refused[0]))

    broker.run(test)


@pytest.mark.broker
def test_order_is_kept_over_a_broker_that_is_killed(broker: Broker, server: Nats) -> None:
    async def test(bus: EventBus) -> None:
        await publish(bus, 0)
        sent = [asyncio.create_task(publish(bus, number)) for number in range(1, 2000)]
        await sent[150]
        await asyncio.to_thread(server.restart)
        await asyncio.gather(*sent)

        assert await stored(bus, broker, 2000) == list(range(2000))
        assert await batched(broker, bus) > 100

    broker.run(test)


@pytest.mark.broker
def test_a_topic_of_an_older_release_learns_to_take_batches(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        assert isinstance(bus, JetStreamBus)
        names = topic(broker.key, "topic")
        old = {"name": names.stream, "subjects": [names.subjects], "discard": "new", "max_consumers": 10}
        await bus._js.ensure_stream({**old, "allow_direct": True})
        await publish(bus, 0)
        await asyncio.gather(*(publish(bus, number) for number in range(1, 51)))

        assert await batched(broker, bus) == 49

    broker.run(test)


@pytest.mark.broker
def test_a_topic_that_takes_no_batches_gets_its_events_singly(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        assert isinstance(bus, JetStreamBus)
        names = topic(broker.key, "topic")
        await publish(bus, 0)
        config = {"name": names.stream, "subjects": [names.subjects], "discard": "new", "allow_direct": True}
        await bus._js.call(f"STREAM.UPDATE.{names.stream}", {**config, "max_consumers": 100_000})
        await asyncio.gather(*(publish(bus, number) for number in range(1, 100)))

        assert await stored(bus, broker, 100) == list(range(100))
        assert await batched(broker, bus) == 0

    broker.run(test)


@pytest.mark.broker
def test_without_sync_nothing_is_grouped(server: Nats) -> None:
    broker = Broker("nats", server.options, server)

    async def test(bus: EventBus) -> None:
        await asyncio.gather(*(publish(bus, number) for number in range(100)))

        assert await batched(broker, bus) == 0

    broker.run(test)
