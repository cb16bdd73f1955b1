"""The MQTT source of the embedded broker: from its stream, each message once, in order, whatever is killed."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator

import pytest

from api.meta import Key
from api.model import Source
from eventbus import embedded
from eventbus.errors import BusFull, TooLarge
from eventbus.mqtt.topics import from_nats, to_nats
from tests.brokers import Nats
from tests.sources.mqtt_world import Bus, Publisher, make, numbers, run, running, start_impatient
from tests.sources.nats_world import outsider
from triggers.sources.mqtt import MqttSource
from triggers.sources.mqtt_kinds import mqtt_source
from triggers.sources.mqtt_stored import STREAM, StoredMqttSource
from triggers.sources.source import BadSource, SourceError

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_impatient(tmp_path_factory.mktemp("stored"))
    yield nats
    nats.stop()


@pytest.fixture
def device(server: Nats) -> Iterator[Publisher]:
    publisher = Publisher(server.mqtt_port)
    yield publisher
    publisher.stop()


def reach(server: Nats) -> dict[str, str]:
    return {"url": server.url, "user": embedded.DEVICES, "password": server.password}


def stored(server: Nats, name: str = "", **options: str) -> StoredMqttSource:
    key = Key("default", name or f"plant.m{next(numbers)}")
    source = Source(key=key, kind="mqtt", options={}, bus=Key("default", "default"), subject="s")
    here = {f"store.{name}": value for name, value in reach(server).items()}
    return StoredMqttSource(source, {"url": f"mqtt://127.0.0.1:{server.mqtt_port}", **here, **options})


def test_messages_of_every_qos_become_events(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        bus, source = Bus(), stored(server, "plant.all", topic="m/#")
        async with running(source, bus):
            for qos in (0, 1, 2):
                await asyncio.to_thread(device.send, "m/kitchen", f'{{"qos": {qos}}}', qos=qos)
                await bus.wait(lambda qos=qos: len(bus.events) == qos + 1)  # type: ignore[misc]  # binds the round's
            await asyncio.to_thread(device.send, "m", b"\xff")
            await asyncio.to_thread(device.send, "other", b"")
            await source.publish("m/x", b"")
            await bus.wait(lambda: len(bus.events) == 5)

        first = bus.events[0]
        assert [event.get("data") for event in bus.events[:3]] == [{"qos": 0}, {"qos": 1}, {"qos": 2}]
        assert (first["type"], first["source"]) == ("io.evoke.mqtt.message", "mqtt://plant/all")
        assert first["subject"] == first["partitionkey"] == bus.keys[0] == "m/kitchen"
        assert {str(event["subject"]) for event in bus.events} == {"m", "m/kitchen", "m/x"}
        assert len({event["id"] for event in bus.events}) == 5

    run(test)


def test_a_slow_bus_doubles_nothing(server: Nats, device: Publisher) -> None:
    """Held for several times the ack_wait of the MQTT side, through which a session would get them again."""

    async def test() -> None:
        bus, source = Bus(), stored(server, topic="l/#")
        async with running(source, bus):
            bus.refusing = BusFull("full")
            for number in range(300):
                await asyncio.to_thread(device.send, f"l/{number % 3}", str(number))
            asked = bus.asked
            await bus.wait(lambda: bus.asked > asked + 5)
            bus.refusing = None
            await bus.wait(lambda: len(bus.events) >= 300)
            await asyncio.to_thread(device.send, "l/0", "300")
            await bus.wait(lambda: bus.events[-1]["data"] == 300)

        assert len(bus.events) == 301
        assert_order(bus, 3, 301)

    run(test)


def assert_order(bus: Bus, lanes: int, count: int) -> None:
    found = defaultdict(list)
    for event in bus.events:
        found[str(event["subject"])].append(event["data"])
    assert sorted(found.values()) == [list(range(lane, count, lanes)) for lane in range(lanes)]


def test_a_killed_broker_loses_and_doubles_nothing(server: Nats) -> None:
    async def test() -> None:
        bus, source = Bus(), stored(server, topic="k/#")
        async with running(source, bus):

            async def send() -> None:
                for number in range(200):
                    await source.publish(f"k/{number % 2}", str(number).encode())

            sending = asyncio.create_task(send())
            for mark in (40, 120):
                await bus.wait(lambda mark=mark: len(bus.events) >= mark)  # type: ignore[misc]  # binds the round's
                await asyncio.to_thread(server.restart)
            await sending
            await bus.wait(lambda: {199, 198} <= {event["data"] for event in bus.events})

        # a device that had no PUBACK sends again, and the broker cannot know: those alone may be two events
        order = {subject: dict.fromkeys(data) for subject, data in by_subject(bus).items()}
        assert {subject: list(data) for subject, data in order.items()} == {
            f"k/{lane}": list(range(lane, 200, 2)) for lane in range(2)
        }
        assert len(bus.events) <= 202
        assert len(set(bus.dedupes)) == len(bus.dedupes)

    run(test)


def by_subject(bus: Bus) -> dict[str, list[object]]:
    found: dict[str, list[object]] = defaultdict(list)
    for event in bus.events:
        found[str(event["subject"])].append(event["data"])
    return found


def test_a_killed_proxy_is_followed_in_order_with_the_same_identities(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        name, first, second = f"plant.p{next(numbers)}", Bus(), Bus()
        async with running(stored(server, name, topic="p/#"), first):
            for number in range(50):
                await asyncio.to_thread(device.send, "p/k", str(number))
            await first.wait(lambda: len(first.events) == 50)
            first.refusing = BusFull("full")
            for number in range(50, 100):
                await asyncio.to_thread(device.send, "p/k", str(number))
            asked = first.asked
            await first.wait(lambda: first.asked > asked)
        for number in range(100, 120):
            await asyncio.to_thread(device.send, "p/k", str(number))
        async with running(stored(server, name, topic="p/#"), second), outsider(reach(server)) as other:
            await second.wait(lambda: second.events and second.events[-1]["data"] == 119)
            names = [one for one in await other.consumers(STREAM) if one.startswith("evoke-") and "=" not in one]

        again = set(first.dedupes) & set(second.dedupes)
        assert [event["data"] for event in second.events] == list(range(50 - len(again), 120))
        assert names

    run(test)


def test_retained_messages_come_once_and_are_flagged(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        name, bus = f"plant.r{next(numbers)}", Bus()
        await asyncio.to_thread(device.send, "r/1", "1", retain=True)
        await asyncio.to_thread(device.send, "r/2", "2", retain=True, qos=0)
        await asyncio.to_thread(device.send, "s/1", "3", retain=True)
        async with running(stored(server, name, topic="r/+"), bus):
            await asyncio.to_thread(device.send, "r/3", "4", retain=True)
            await bus.wait(lambda: len(bus.events) == 3)
        async with running(stored(server, name, topic="r/+"), bus):
            await asyncio.to_thread(device.send, "r/1", "5")
            await bus.wait(lambda: len(set(bus.dedupes)) == 4)
        without = Bus()
        async with running(stored(server, topic="r/+", retain="false"), without):
            await asyncio.to_thread(device.send, "r/1", "6")
            await without.wait(lambda: without.events)

        once = {event["id"]: (event["data"], event.get("mqttretained")) for event in bus.events}
        assert list(once.values()) == [(1, True), (2, True), (4, None), (5, None)]
        assert [event["data"] for event in without.events] == [6]

    run(test)


def test_a_session_of_an_earlier_release_is_ended(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        name = f"plant.e{next(numbers)}"
        async with running(make(server.mqtt_port, name, topic="e/#"), Bus()):
            pass
        bus = Bus()
        async with running(stored(server, name, topic="e/#"), bus):
            await asyncio.to_thread(device.send, "e/1", "1")
            await bus.wait(lambda: bus.events)
            async with outsider(reach(server)) as other, asyncio.timeout(10):
                while (await other.js.stream_info(STREAM, "$MQTT.msgs.e.>")).state.subjects:  # noqa: ASYNC110  # nothing tells
                    await asyncio.sleep(0.02)

    run(test)


def test_too_large_an_event_does_not_block_its_topic(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        bus, source = Bus(), stored(server, topic="t/#")
        async with running(source, bus):
            bus.refusing = TooLarge("no")
            await asyncio.to_thread(device.send, "t/1", "1")
            await bus.wait(lambda: "rejected" in source.state().message)
            bus.refusing = None
            await asyncio.to_thread(device.send, "t/1", "2")
            await bus.wait(lambda: bus.events)

        assert [event["data"] for event in bus.events] == [2]

    run(test)


@pytest.mark.parametrize(
    "topic", ["a", "/", "//", "/a", "a/", "a//", "a/./b", ".", "..", "a.b", "a./b", "a/.b", "*", "a/>", "é/ü", "$x/y"]
)
def test_topics_stand_under_the_subjects_that_the_server_gives_them(server: Nats, topic: str) -> None:
    async def test() -> None:
        async with outsider(reach(server)) as other:
            heard: list[str] = []
            device = await asyncio.to_thread(Publisher, server.mqtt_port)
            await other._connection.listen(to_nats(topic), lambda message: heard.append(message.subject))
            await other.js.call("INFO")  # behind the subscription
            await asyncio.to_thread(device.send, topic, "1")
            await other.js.call("INFO")
            await asyncio.to_thread(device.stop)

            assert set(heard) == {to_nats(topic)}
            assert from_nats(heard[0]) == topic

    run(test)


def test_guests_reach_nothing_but_messages(server: Nats) -> None:
    """What a device may not publish to would let it change our progress."""

    async def test() -> None:
        bus, source = Bus(), stored(server, topic="#")
        async with running(source, bus):
            device = await asyncio.to_thread(Publisher, server.mqtt_port)
            await asyncio.to_thread(device.send, "$JS/API/STREAM/DELETE/$MQTT_msgs", "{}", qos=0)
            await asyncio.to_thread(device.send, "g/1", "1")
            await bus.wait(lambda: any(event["subject"] == "g/1" for event in bus.events))
            await asyncio.to_thread(device.stop)

    run(test)


def test_the_proxy_chooses_which_way(server: Nats) -> None:
    source = Source(key=Key("default", "p.e"), kind="mqtt", bus=Key("default", "default"), subject="s")
    outside = {"url": "mqtt://h", "topic": "t"}
    here = {**outside, "store.url": "nats://h"}

    assert isinstance(mqtt_source(source, outside), MqttSource)
    assert isinstance(mqtt_source(source, here), StoredMqttSource)
    assert isinstance(mqtt_source(source, {**here, "cleanSession": "true"}), MqttSource)
    with pytest.raises(BadSource):
        mqtt_source(source, {"url": "mqtt://h", "store.url": "nats://h"})
    with pytest.raises(SourceError, match="no topic"):
        asyncio.run(_publish_to_a_filter(server))


async def _publish_to_a_filter(server: Nats) -> None:
    await stored(server, topic="#").publish("a/#", b"")
