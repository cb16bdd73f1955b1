"""The MQTT source against mosquitto: MQTT 5, what clients may send, and every way in which a connection can fail."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from paho.mqtt.enums import MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from api.platform import spare
from eventbus import cloudevents
from eventbus.errors import BusFull, TooLarge
from eventbus.mqtt.message import Message
from tests.certificates import Authority, authority
from tests.mosquitto import Mosquitto, start_mosquitto
from tests.relay import Relay
from tests.sources.mqtt_world import Bus, Publisher, make, numbers, run, running

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Authority) -> Iterator[Mosquitto]:
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"), tls=(issuer.ca, *issuer.issue("127.0.0.1")))
    yield broker
    broker.stop()


@pytest.fixture
def device(server: Mosquitto) -> Iterator[Publisher]:
    publisher = Publisher(server.port, MQTTProtocolVersion.MQTTv5)
    yield publisher
    publisher.stop()


def said(*user: tuple[str, str], content_type: str = "", expires: int = 0) -> Properties:
    properties = Properties(PacketTypes.PUBLISH)
    if user:
        properties.UserProperty = list(user)
    if content_type:
        properties.ContentType = content_type
    if expires:
        properties.MessageExpiryInterval = expires
    return properties


def test_what_the_message_says_of_itself_becomes_attributes(server: Mosquitto, device: Publisher) -> None:
    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="p/#")
        async with running(source, bus):
            properties = said(
                ("Device-Id", "a7"), ("type", "mine"), ("evokehops", "9"), content_type="text/csv", expires=600
            )
            await asyncio.to_thread(device.send, "p/1", "1;2", said=properties)
            await bus.wait(lambda: bus.events)

        event = bus.events[0]
        assert (event["data"], event["datacontenttype"]) == ("1;2", "text/csv")
        assert (event["deviceid"], event["mqttomitted"]) == ("a7", 2)
        assert event["type"] == "io.evoke.mqtt.message"
        assert 590 < (datetime.fromisoformat(str(event["expirytime"])) - datetime.now(UTC)).total_seconds() < 601
        assert source._link.version == 5

    run(test)


def test_events_that_clients_sent_stay_what_they_are(server: Mosquitto, device: Publisher) -> None:
    sent = cloudevents.encode(id="7", source="/dev", type="t", body=b"1", extensions={"partitionkey": "k"})
    keyless = cloudevents.encode(id="8", source="/dev", type="t", body=b"1")
    spoofed = cloudevents.encode(id="9", source="/dev", type="io.evoke.x", body=b"1")
    binary = said(("specversion", "1.0"), ("id", "10"), ("source", "/dev"), ("type", "t"), content_type="text/plain")

    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="c/#")
        async with running(source, bus):
            declared = said(content_type="application/cloudevents+json; charset=utf-8")
            await asyncio.to_thread(device.send, "c/1", sent, said=declared)
            await asyncio.to_thread(device.send, "c/1", keyless)
            await asyncio.to_thread(device.send, "c/1", spoofed)
            await asyncio.to_thread(device.send, "c/1", "hot", said=binary)
            await asyncio.to_thread(device.send, "c/1", "no", said=declared)
            await bus.wait(lambda: len(bus.events) == 5)

        assert [bus.events[0], bus.events[1]] == [json.loads(sent), json.loads(keyless)]
        assert bus.keys == ["k", "c/1", "c/1", "c/1", "c/1"]
        assert bus.dedupes[0] == cloudevents.dedupe_id("/dev", "7")
        assert (bus.events[2]["type"], bus.events[2]["data"]) == ("io.evoke.mqtt.message", json.loads(spoofed))
        assert (bus.events[3]["id"], bus.events[3]["data"]) == ("10", "hot")
        assert bus.events[4]["type"] == "io.evoke.mqtt.message"

    run(test)


def test_whatever_comes_the_next_message_comes_too(server: Mosquitto, device: Publisher) -> None:
    """Empty, large, with 300 user properties, with QoS 0 and 2."""

    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="w/#", qos="2")
        async with running(source, bus):
            many = said(*((f"name{number}", "x") for number in range(300)))
            await asyncio.to_thread(device.send, "w/1", b"")
            await asyncio.to_thread(device.send, "w/1", b"x" * (3 << 20))
            await asyncio.to_thread(device.send, "w/1", b"1", said=many)
            await asyncio.to_thread(device.send, "w/1", b"2", qos=2)
            await asyncio.to_thread(device.send, "w/1", b"3", qos=0)
            await bus.wait(lambda: len(bus.events) == 5)
            assert "data" not in bus.events[0]
            assert len(str(bus.events[1]["data"])) == 3 << 20
            assert bus.events[2]["mqttomitted"] == 236
            assert [event["data"] for event in bus.events[2:]] == [1, 2, 3]
            bus.refusing = TooLarge("no")
            await asyncio.to_thread(device.send, "w/1", b"4")
            await bus.wait(lambda: "rejected" in source.state().message)
            bus.refusing = None
            await asyncio.to_thread(device.send, "w/1", b"5")
            await bus.wait(lambda: len(bus.events) == 6)

        assert bus.events[-1]["data"] == 5

    run(test)


@pytest.mark.parametrize("version", ["5", "4"])
def test_a_message_above_every_limit_does_not_end_the_source(
    server: Mosquitto, device: Publisher, version: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """MQTT 5 lets the broker keep it; with 3.1.1 it comes, and the bus would refuse it."""
    monkeypatch.setattr("eventbus.mqtt.wire.MAX_PACKET", 1 << 20)

    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="huge/#", version=version)
        async with running(source, bus):
            await asyncio.to_thread(device.send, "huge/1", b"x" * (2 << 20))
            await asyncio.to_thread(device.send, "huge/1", b"1")
            await bus.wait(lambda: bus.events and bus.events[-1]["data"] == 1)

        assert len(bus.events) == (1 if version == "5" else 2)

    run(test)


@pytest.mark.parametrize("topic", [None, "a\0b", "a\ud7ffb\x01"])
def test_a_topic_that_can_be_no_subject_is_rejected_and_acknowledged(server: Mosquitto, topic: str | None) -> None:
    """No broker here lets one through, so the message is made up."""

    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="#")
        acknowledged: list[int] = []
        source._link.acknowledge = lambda mid, qos: acknowledged.append(mid)  # type: ignore[method-assign]  # to see it
        async with running(source, bus):
            source._arrived(Message(mid=7, topic=topic, payload=b"", qos=1, retained=False, again=False))
            source._arrived(Message(mid=8, topic="fine", payload=b"", qos=1, retained=False, again=False))
            await bus.wait(lambda: acknowledged == [7, 8])

        assert [event.get("subject") for event in bus.events] == [None, "fine"]
        assert bus.events[0]["type"] == "io.evoke.source.rejected"
        assert "topic" in str(bus.events[0]["evokeerror"])

    run(test)


def test_retained_messages_are_flagged_once(server: Mosquitto, device: Publisher) -> None:
    async def test() -> None:
        await asyncio.to_thread(device.send, "r/1", "1", retain=True)
        bus, name = Bus(), f"readings.kept{next(numbers)}"
        async with running(make(server.port, name, topic="r/#"), bus):
            await bus.wait(lambda: bus.events)
            await asyncio.to_thread(device.send, "r/2", "2", retain=True)
            await bus.wait(lambda: len(bus.events) == 2)

        assert [event.get("mqttretained") for event in bus.events] == [True, None]
        await asyncio.to_thread(device.send, "r/1", "", retain=True)
        await asyncio.to_thread(device.send, "r/2", "", retain=True)

    run(test)


def test_what_the_bus_did_not_take_comes_again_in_order(server: Mosquitto, device: Publisher) -> None:
    async def test() -> None:
        name, first = f"readings.again{next(numbers)}", Bus()
        first.open.clear()
        async with running(make(server.port, name, topic="a/#"), first):
            for number in range(400):  # more than the broker may have in flight
                await asyncio.to_thread(device.send, "a/k", str(number))
            await first.wait(lambda: first.asked)
        second = Bus()
        async with running(make(server.port, name, topic="a/#"), second):
            await second.wait(lambda: len(second.events) >= 400)

        assert first.events == []
        assert [event["data"] for event in second.events] == list(range(400))

    run(test)


def test_a_reset_connection_doubles_nothing_that_was_not_acknowledged(server: Mosquitto, device: Publisher) -> None:
    """Some of it on the bus already, and its PUBACK waiting for an older one."""

    async def test() -> None:
        bus, go_on = Bus(), asyncio.Event()
        bus.slow = ("x/0", go_on)
        with Relay(server.port) as relay:
            source = make(relay.port, topic="x/#")
            async with running(source, bus):
                for number in range(200):
                    await asyncio.to_thread(device.send, f"x/{number % 4}", str(number))
                await bus.wait(lambda: len(bus.events) == 150)
                relay.reset()
                await bus.wait(lambda: relay.accepted == 2 and source.state().connected)
                await asyncio.to_thread(device.send, "x/1", "201")
                await bus.wait(lambda: len(bus.events) == 151)
                go_on.set()
                await bus.wait(lambda: len(bus.events) >= 201)
                await asyncio.to_thread(device.send, "x/0", "200")
                await bus.wait(lambda: len(bus.events) >= 202)

        for lane in range(4):
            data = [event["data"] for event in bus.events if event["subject"] == f"x/{lane}"]
            assert data == list(range(lane, 200 + (lane == 0), 4)) + [201] * (lane == 1)

    run(test)


def test_a_full_window_is_reported(server: Mosquitto, device: Publisher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("triggers.sources.lanes.SATURATED_AFTER", 0.05)

    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="f/#")
        async with running(source, bus):
            bus.refusing = BusFull("topic f is full")
            await asyncio.to_thread(device.send, "f/1", "1")
            await bus.wait(lambda: source.state().reason == "SourceSaturated")
            assert "topic f is full" in source.state().message
            bus.refusing = None
            await bus.wait(lambda: source.state().reason == "")

        assert [event["data"] for event in bus.events] == [1]

    run(test)


def test_a_killed_broker_does_not_end_the_source(server: Mosquitto) -> None:
    async def test() -> None:
        bus, source = Bus(), make(server.port, topic="k/#")
        async with running(source, bus):
            await source.publish("k/1", b"1")
            await bus.wait(lambda: bus.events)
            await asyncio.to_thread(server.kill)
            publishing = asyncio.create_task(source.publish("k/1", b"2"))
            await bus.wait(lambda: not source.state().connected)
            await asyncio.to_thread(server.start)
            await publishing
            await bus.wait(lambda: bus.events[-1]["data"] == 2)

        # what was acknowledged just before may come again: mosquitto writes a moment later
        assert list(dict.fromkeys(event["data"] for event in bus.events)) == [1, 2]

    run(test)


def test_two_of_one_client_id_raise_the_alarm_and_pause(server: Mosquitto) -> None:
    async def test() -> None:
        bus = Bus()
        one, two = (make(server.port, topic="d/#", consumerID="twin") for _ in range(2))
        async with running(one, bus):
            async with running(two, Bus()):
                await bus.wait(lambda: one.state().reason == "SessionTaken")
                assert "twin" in one.state().message
                assert not one.state().connected
            await bus.wait(lambda: one.state().connected)
            assert one.state().reason == "SessionTaken"

    run(test)


def why(server_url: str, **options: str) -> str:
    """Reason and message of a source that cannot connect, or reason ``""`` of one that can."""

    async def test() -> str:
        bus, source = Bus(), make(1, topic="x/#", url=server_url, **options)
        async with running(source, bus, wait=False):
            await bus.wait(lambda: source.state().connected or "not answered yet" not in source.state().message)
            return f"{source.state().reason}: {source.state().message}"

    return asyncio.run(test())


def test_tls_is_checked(server: Mosquitto, issuer: Authority, tmp_path: Path) -> None:
    stranger = authority(tmp_path / "stranger")
    expired = start_mosquitto(tmp_path / "expired", tls=(issuer.ca, *issuer.issue("127.0.0.1", expired=True)))
    try:
        assert why(server.tls_url, caCert=issuer.ca) == ": "
        assert why(server.tls_url.replace("mqtts", "ssl"), caCert=issuer.ca) == ": "
        assert "TLSFailed" in why(server.tls_url, caCert=stranger.ca)
        assert "CertificateExpired" in why(expired.tls_url, caCert=issuer.ca)
        assert "TLSFailed" in why(server.url.replace("mqtt:", "mqtts:"), caCert=issuer.ca)
    finally:
        expired.stop()


def test_each_way_of_not_connecting_has_its_reason(tmp_path: Path) -> None:
    locked = start_mosquitto(tmp_path / "locked", user="dev", password="right")
    try:
        assert why(locked.url, user="dev", password="right") == ": "
        assert why(locked.url, user="dev", password="wrong").startswith("AuthFailed")
        assert "wrong" not in why(locked.url, user="dev", password="wrong")
    finally:
        locked.stop()
    assert why(f"mqtt://127.0.0.1:{spare()}").startswith("ConnectionRefused")
    assert why("mqtt://no-such-host.invalid:1883").startswith("HostUnknown")


def test_an_old_broker_is_spoken_to_in_its_version_and_its_refusal_reported() -> None:
    """MQTT 5 is refused as the 3.1.1 specification demands (3.1.2.2), then the subscription."""

    async def test() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            connect = await reader.read(1000)
            old = connect[8:9] == b"\x04"
            writer.write(b"\x20\x02\x00\x00" if old else b"\x20\x02\x00\x01")
            if old:
                request = await reader.read(1000)
                writer.write(b"\x90\x03" + request[2:4] + b"\x80")
                await reader.read(1000)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        bus, source = Bus(), make(server.sockets[0].getsockname()[1], topic="secret/#")
        async with server, running(source, bus, wait=False):
            await bus.wait(lambda: source.state().reason == "AuthFailed")

        assert "refused the subscription" in source.state().message
        assert source._link.version == 4

    run(test)


@pytest.mark.parametrize("says", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"-ERR unknown command\r\n", b""])
def test_something_else_that_listens_is_no_broker(says: bytes) -> None:
    async def test() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(says)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        bus, source = Bus(), make(server.sockets[0].getsockname()[1], topic="x")
        async with server, running(source, bus, wait=False):
            await bus.wait(lambda: source.state().reason == "NotABroker")

    run(test)
