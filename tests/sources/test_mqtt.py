"""The MQTT source against the real listener: nothing is acknowledged before the bus has it, order is kept."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
import socket
import subprocess
import threading
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from api.meta import Key
from api.model import Source
from api.platform import spare
from eventbus import embedded
from eventbus.errors import BusFull, TooLarge
from tests.brokers import Nats, start_nats
from triggers.sources import mqtt
from triggers.sources.source import BadSource, SourceError

numbers = itertools.count()
pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("mqtt"), "os")
    yield nats
    nats.stop()


class Publisher:
    """A device: publishes with QoS 1 and waits for each PUBACK."""

    def __init__(self, port: int) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv311)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(self, topic: str, payload: bytes | str, *, retain: bool = False, qos: int = 1) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


@pytest.fixture
def device(server: Nats) -> Iterator[Publisher]:
    publisher = Publisher(server.mqtt_port)
    yield publisher
    publisher.stop()


class Bus:
    """Keeps what is published; refuses while *refusing* holds an error, waits while *closed*."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []
        self.keys: list[str] = []
        self.refusing: Exception | None = None
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self._changed = asyncio.Event()

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None:
        self.asked += 1
        self._changed.set()
        await self.open.wait()
        if self.refusing is not None:
            raise self.refusing
        self.events.append(json.loads(payload))
        self.keys.append(key)
        self._changed.set()

    async def wait(self, done: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not done():
                self._changed.clear()
                try:
                    async with asyncio.timeout(0.05):
                        await self._changed.wait()
                except TimeoutError:
                    continue


def make(port: int, name: str = "", **options: str) -> mqtt.MqttSource:
    name = name or f"readings.n{next(numbers)}"
    source = Source(key=Key("default", name), kind="mqtt", options={}, bus=Key("default", "default"), subject="s")
    return mqtt.MqttSource(source, {"url": f"mqtt://127.0.0.1:{port}", **options})


@asynccontextmanager
async def running(source: mqtt.MqttSource, bus: Bus, *, wait: bool = True) -> AsyncIterator[None]:
    task = asyncio.create_task(source.run(bus))
    try:
        if wait:
            await bus.wait(lambda: source.state().connected)
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def run(test: Callable[[], Coroutine[None, None, None]]) -> None:
    asyncio.run(test())


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

        def count(arrival: mqtt.Arrival) -> None:
            nonlocal again
            again += arrival.again
            arrived(arrival)

        source._arrived = count  # type: ignore[method-assign]  # to see what the broker did
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
            await bus.wait(lambda: "dropped" in source.state().message)
            bus.refusing = None
            await source.publish("t/1", b"2")
            await bus.wait(lambda: bus.events)

        assert [event["data"] for event in bus.events] == [2]

    run(test)


def test_a_slow_bus_is_reported(server: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mqtt, "SATURATED_AFTER", 0.05)

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
            await bus.wait(lambda: "does not answer" in source.state().message)

        assert source.state().reason == "Unreachable"
        assert not source.state().connected

    run(test)


def test_a_refused_subscription_is_reported() -> None:
    """A listener that takes the connection and answers SUBACK 0x80."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        connection, _ = listener.accept()
        connection.recv(1000)
        connection.sendall(b"\x20\x02\x00\x00")
        request = connection.recv(1000)
        connection.sendall(b"\x90\x03" + request[2:4] + b"\x80")
        connection.recv(1000)
        connection.close()

    thread = threading.Thread(target=serve)
    thread.start()

    async def test() -> None:
        bus, source = Bus(), make(listener.getsockname()[1], topic="secret/#")
        async with running(source, bus, wait=False):
            await bus.wait(lambda: "refused the subscription to secret/#" in source.state().message)

        assert source.state().reason == "AuthFailed"

    run(test)
    thread.join(10)
    listener.close()


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


@pytest.mark.skipif(shutil.which("mosquitto") is None, reason="MQTT 5 needs mosquitto: apt-get install mosquitto")
def test_mqtt_5_and_a_session_of_ours(tmp_path: Path) -> None:
    port = spare()
    (tmp_path / "conf").write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n")
    process = subprocess.Popen(["mosquitto", "-c", str(tmp_path / "conf")], stderr=subprocess.DEVNULL)

    async def test() -> None:
        name = f"readings.five{next(numbers)}"
        first = Bus()
        source = make(port, name, topic="v/#", version="5")
        async with running(source, first):
            first.open.clear()
            await source.publish("v/1", b"1")
            await first.wait(lambda: first.asked)
        second = Bus()
        async with running(make(port, name, topic="v/#", version="5"), second):
            await second.wait(lambda: second.events)

        assert [event["data"] for event in second.events] == [1]

    try:
        run(test)
    finally:
        process.terminate()
        process.wait(10)
