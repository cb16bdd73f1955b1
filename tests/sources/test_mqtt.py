"""The MQTT source against the real listener: nothing is acknowledged before the bus has it, order is kept."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.platform import spare
from eventbus import embedded
from eventbus.errors import BusFull, TooLarge
from eventbus.mqtt.message import Message
from tests.brokers import Nats
from tests.sources.mqtt_world import Bus, Publisher, make, numbers, run, running, start_impatient
from triggers.sources.source import BadSource, SourceError

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_impatient(tmp_path_factory.mktemp("mqtt"))
    yield nats
    nats.stop()


@pytest.fixture
def device(server: Nats) -> Iterator[Publisher]:
    publisher = Publisher(server.mqtt_port)
    yield publisher
    publisher.stop()


def test_messages_become_events(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        bus, source = Bus(), make(server.mqtt_port, "readings.all", topic="m/#")
        async with running(source, bus):
            for payload in (b'{"celsius": 31}', b"hot", b"\xff\x00"):
                await asyncio.to_thread(device.send, "m/kitchen", payload)
            await bus.wait(lambda: len(bus.events) == 3)

        first = bus.events[0]
        assert first["type"] == "io.evoke.mqtt.message"
        assert first["source"] == "mqtt://readings/all"
        assert first["subject"] == first["partitionkey"] == bus.keys[0] == "m/kitchen"
        assert (first["data"], first["datacontenttype"]) == ({"celsius": 31}, "application/json")
        assert (bus.events[1]["data"], bus.events[1]["datacontenttype"]) == ("hot", "text/plain")
        assert bus.events[2]["data_base64"] == "/wA="
        assert "mqttretained" not in first
        assert len({event["id"] for event in bus.events}) == 3

    run(test)


def test_each_topic_keeps_its_order(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        bus, source = Bus(), make(server.mqtt_port, topic="o/+")
        async with running(source, bus):
            sending = asyncio.create_task(
                asyncio.to_thread(lambda: [device.send(f"o/{n % 5}", str(n)) for n in range(100)])
            )
            bus.refusing = BusFull("full")
            await bus.wait(lambda: bus.asked >= 5)
            bus.refusing = None
            await sending
            await bus.wait(lambda: len(bus.events) == 100)

        lanes = defaultdict(list)
        for event in bus.events:
            lanes[event["subject"]].append(event["data"])
        assert dict(lanes) == {f"o/{k}": list(range(k, 100, 5)) for k in range(5)}

    run(test)


def test_what_the_bus_did_not_take_comes_again(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        name = f"readings.again{next(numbers)}"
        first = Bus()
        first.open.clear()
        async with running(make(server.mqtt_port, name, topic="a/#"), first):
            for number in range(5):
                await asyncio.to_thread(device.send, f"a/{number}", str(number))
            await first.wait(lambda: first.asked == 5)
        await asyncio.sleep(0.6)  # the listener's ack_wait, without which it would send new messages first
        await asyncio.to_thread(device.send, "a/0", "10")
        second = Bus()
        async with running(make(server.mqtt_port, name, topic="a/#"), second):
            await second.wait(lambda: len(second.events) == 6)
        third = Bus()
        async with running(make(server.mqtt_port, name, topic="a/#"), third):
            await asyncio.to_thread(device.send, "a/last", "9")
            await third.wait(lambda: third.events)

        assert first.events == []
        assert sorted(event["data"] for event in second.events) == [0, 1, 2, 3, 4, 10]
        assert [event["data"] for event in second.events if event["subject"] == "a/0"] == [0, 10]
        assert [event["data"] for event in third.events] == [9]

    run(test)


def test_a_message_sent_again_on_a_live_connection_is_one_event(server: Nats) -> None:
    """nats-server does not wait for the PUBACK longer than its ack_wait."""

    async def test() -> None:
        bus, source = Bus(), make(server.mqtt_port, topic="l/#")
        again = 0
        arrived = source._arrived

        def count(message: Message) -> None:
            nonlocal again
            again += message.again
            arrived(message)

        source._link._on_message = count  # to see what the broker did
        async with running(source, bus):
            bus.open.clear()
            for number in range(3):
                await source.publish("l/k", str(number).encode())
            await bus.wait(lambda: again >= 6)
            bus.open.set()
            await source.publish("l/k", b"3")
            await bus.wait(lambda: len(bus.events) >= 4)

        assert [event["data"] for event in bus.events] == [0, 1, 2, 3]

    run(test)


def test_messages_sent_while_away_are_waiting(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        name = f"readings.away{next(numbers)}"
        async with running(make(server.mqtt_port, name, topic="w/#"), Bus()):
            pass
        await asyncio.to_thread(device.send, "w/1", "1")
        bus = Bus()
        async with running(make(server.mqtt_port, name, topic="w/#"), bus):
            await bus.wait(lambda: bus.events)

        assert [event["data"] for event in bus.events] == [1]

    run(test)


def test_retained_messages_are_flagged(server: Nats, device: Publisher) -> None:
    async def test() -> None:
        await asyncio.to_thread(device.send, "r/1", "1", retain=True)
        bus, source = Bus(), make(server.mqtt_port, topic="r/#")
        async with running(source, bus):
            await bus.wait(lambda: bus.events)
            await asyncio.to_thread(device.send, "r/2", "2")
            await bus.wait(lambda: len(bus.events) == 2)

        assert [event.get("mqttretained") for event in bus.events] == [True, None]

    run(test)


def test_retained_and_foreign_messages_can_be_left_out(server: Nats, device: Publisher) -> None:
    """The session of the same name still has the filter ``q/#`` when the source asks for ``q/wanted`` only."""

    async def test() -> None:
        name = f"readings.left{next(numbers)}"
        async with running(make(server.mqtt_port, name, topic="q/#"), Bus()):
            pass
        await asyncio.to_thread(device.send, "q/wanted", "0", retain=True)
        bus = Bus()
        source = make(server.mqtt_port, name, topic="q/wanted", retain="false")
        async with running(source, bus):
            for topic, payload in (("q/other", "1"), ("q/wanted", "2")):
                await asyncio.to_thread(device.send, topic, payload)
            await bus.wait(lambda: 2 in [event["data"] for event in bus.events])

        assert {event["subject"] for event in bus.events} == {"q/wanted"}
        assert not any("mqttretained" in event for event in bus.events)

    run(test)


def test_it_goes_on_after_the_broker_was_killed(server: Nats) -> None:
    async def test() -> None:
        bus, source = Bus(), make(server.mqtt_port, topic="k/#")
        async with running(source, bus):
            await source.publish("k/1", b"1")
            await asyncio.to_thread(server.restart)
            await source.publish("k/2", b"2")
            await bus.wait(lambda: {event["data"] for event in bus.events} == {1, 2})
            await bus.wait(lambda: source.state().connected)

        assert source.state().reason == ""

    run(test)


def test_too_large_an_event_does_not_block_its_topic(server: Nats) -> None:
    async def test() -> None:
        bus, source = Bus(), make(server.mqtt_port, topic="t/#")
        async with running(source, bus):
            bus.refusing = TooLarge("no")
            await source.publish("t/1", b"1")
            await bus.wait(lambda: "rejected" in source.state().message)
            bus.refusing = None
            await source.publish("t/1", b"2")
            await bus.wait(lambda: bus.events)

        assert [event["data"] for event in bus.events] == [2]

    run(test)


def test_a_slow_bus_is_reported(server: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triggers.sources.lanes.SATURATED_AFTER", 0.05)

    async def test() -> None:
        bus, source = Bus(), make(server.mqtt_port, topic="s/#")
        async with running(source, bus):
            bus.open.clear()
            await source.publish("s/1", b"1")
            await bus.wait(lambda: source.state().reason == "SourceSaturated")
            bus.open.set()
            await bus.wait(lambda: source.state().reason == "")

        assert source.state().published == 1

    run(test)


def test_nobody_there_is_reported() -> None:
    async def test() -> None:
        bus, source = Bus(), make(spare(), topic="x")
        async with running(source, bus, wait=False):
            await bus.wait(lambda: "nothing listens" in source.state().message)

        assert source.state().reason == "ConnectionRefused"
        assert not source.state().connected

    run(test)


def locked(tmp_path: Path) -> Nats:
    """A listener that asks for a user and a password."""
    nats = Nats(tmp_path, "os")
    written = embedded.config(nats.settings)
    asks = written.replace("  no_auth_user: guest\n", "").replace('guest, password: ""', 'device, password: "se:c@ret"')
    assert asks.count("guest") == 0
    nats.start(asks)
    return nats


def test_user_and_password_are_taken_from_options_and_url(tmp_path: Path) -> None:
    nats = locked(tmp_path)

    async def connects(**options: str) -> str:
        bus, source = Bus(), make(nats.mqtt_port, topic="p/#", **options)
        async with running(source, bus, wait=False):
            await bus.wait(lambda: source.state().connected or source.state().reason == "AuthFailed")
            return source.state().message

    async def test() -> None:
        assert await connects(user="device", password="se:c@ret") == ""
        assert await connects(url=f"mqtt://device:se%3Ac%40ret@127.0.0.1:{nats.mqtt_port}") == ""
        assert "check username and password" in await connects(user="device", password="guess")
        assert "check username and password" in await connects()

    try:
        run(test)
    finally:
        nats.stop()


def test_publishing_needs_a_plain_topic(server: Nats) -> None:
    async def test() -> None:
        with pytest.raises(SourceError, match="no topic"):
            await make(server.mqtt_port, topic="#").publish("a/#", b"")

    run(test)


@pytest.mark.parametrize(
    "options",
    [{"url": "mqtt://h"}, {"url": "", "topic": "t"}, {"url": "http://h", "topic": "t"}, {"topic": "t", "qos": "3"}],
)
def test_bad_options_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(BadSource):
        make(1, **options)
