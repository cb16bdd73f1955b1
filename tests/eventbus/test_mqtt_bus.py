"""The MQTT bus beside its contract: what clients of the broker see, and every fault of the broker and of the store."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from api.model import Bus
from api.platform import spare
from eventbus import cloudevents
from eventbus.bus import EventBus
from eventbus.connect import STORE, connect
from eventbus.errors import BusError, LagUnknown, TooLarge, Unreachable
from eventbus.fronted.bus import FrontedBus
from eventbus.openings import Gate, Openings
from tests.brokers import Nats, start_nats
from tests.certificates import authority
from tests.contract.bridged import Bridges
from tests.contract.harness import Broker, Owner, event, ids
from tests.mosquitto import Mosquitto, start_mosquitto
from tests.sources.mqtt_world import Publisher

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("store"), "os")
    yield nats
    nats.stop()


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = start_mosquitto(tmp_path_factory.mktemp("front"))
    yield broker
    broker.stop()


def options(store: Nats, url: str, **more: str) -> dict[str, str]:
    return {"url": url, **more, **{STORE + name: value for name, value in store.options.items()}}


@pytest.fixture
def broker(store: Nats, front: Mosquitto) -> Broker:
    return Broker("mqtt", options(store, front.url), store)


class Listener:
    """A client of the broker that has nothing to do with us."""

    def __init__(self, port: int, topic: str) -> None:
        self.messages: asyncio.Queue[paho.MQTTMessage] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.ready = asyncio.Event()
        self._client.on_connect = lambda client, *_: client.subscribe(topic, 1)
        self._client.on_subscribe = lambda *_: loop.call_soon_threadsafe(self.ready.set)
        self._client.on_message = lambda _c, _u, message: loop.call_soon_threadsafe(self.messages.put_nowait, message)
        self._client.connect_async("127.0.0.1", port)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_clients_of_the_broker_see_events_and_send_messages(broker: Broker, front: Mosquitto) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription("orders.new"))
        listener = Listener(front.port, "orders.new")
        device = await asyncio.to_thread(Publisher, front.port)
        try:
            await listener.ready.wait()
            await bus.publish("orders.new", event(1, "k"))
            seen = await listener.messages.get()
            await asyncio.to_thread(device.send, "orders.new", b'{"celsius": 31}')
            foreign = (await owner.take(2))[1]
        finally:
            await asyncio.to_thread(listener.stop)
            await asyncio.to_thread(device.stop)

        assert json.loads(seen.payload)["id"] == "1"
        assert seen.properties is not None
        assert seen.properties.ContentType == "application/cloudevents+json"
        assert owner.events[0].payload == seen.payload
        sent = json.loads(foreign.payload)
        assert (sent["type"], sent["source"]) == ("io.evoke.mqtt.message", "mqtt://default/orders.new")
        assert (sent["data"], foreign.key) == ({"celsius": 31}, "orders.new")

    broker.run(test)


def raw(broker: Broker, **fields: Any) -> FrontedBus:
    made = connect(Bus(key=broker.key, kind="mqtt", options={**broker.options, **fields}), str)
    assert isinstance(made, FrontedBus)
    return made


async def until(done: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not done():  # noqa: ASYNC110  # another process's doing: nothing tells when
            await asyncio.sleep(0.01)


def alone(bus: FrontedBus, test: Callable[[], Awaitable[None]]) -> None:
    async def main() -> None:
        try:
            async with asyncio.timeout(60):
                await test()
        finally:
            await bus.close()

    asyncio.run(main())


def test_publishes_overlapping_restarts_of_the_broker_keep_their_order(broker: Broker, front: Mosquitto) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription("ordered"))
        owner.intake.request(1000)
        publishing = [asyncio.create_task(surely(bus, number)) for number in range(200)]
        await asyncio.to_thread(front.restart)
        publishing += [asyncio.create_task(surely(bus, number)) for number in range(200, 300)]
        await asyncio.to_thread(front.restart)
        await asyncio.gather(*publishing)
        await owner.wait(lambda: len(owner.events) >= 300)

        assert ids(owner.events) == list(range(300))

    broker.run(test)


async def surely(bus: EventBus, number: int) -> None:
    while True:
        with suppress(Unreachable):
            await bus.publish("ordered", event(number))
            return


def test_a_killed_broker_refuses_until_it_is_back(broker: Broker, front: Mosquitto) -> None:
    """What was acknowledged and stored stays, what was not is told so."""

    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription("killed"))
        await bus.publish("killed", event(0))
        await asyncio.to_thread(front.kill)
        await until(lambda: not bus.connected)
        bus._bus._deadline = 0.3  # type: ignore[attr-defined]  # nine seconds are long for a test
        with pytest.raises(Unreachable):
            await bus.publish("killed", event(1))
        (before,) = await owner.take(1)
        await asyncio.to_thread(front.start)
        await until(lambda: bus.connected)
        bus._bus._deadline = 9.0  # type: ignore[attr-defined]  # as before
        await bus.publish("killed", event(2))
        (after,) = await owner.take(1)

        assert ids([before, after]) == [0, 2]

    broker.run(test)


def test_a_silent_broker_is_given_up_within_the_deadline(broker: Broker, front: Mosquitto) -> None:
    bus = raw(broker)
    bus._deadline = 0.3

    async def test() -> None:
        await bus.connect()
        await bus.publish("silent", event(0))
        front.freeze()
        try:
            with pytest.raises(Unreachable, match="did not acknowledge"):
                await bus.publish("silent", event(1))
        finally:
            front.thaw()
        await bus.publish("silent", event(2))

    alone(bus, test)


def test_a_killed_store_delays_and_loses_nothing(broker: Broker, store: Nats) -> None:
    async def test(bus: EventBus) -> None:
        owner = await Owner.open(bus, broker.subscription("stored"))
        owner.intake.request(1000)
        publishing = [asyncio.create_task(bus.publish("stored", event(number))) for number in range(100)]
        await owner.wait(lambda: len(owner.events) > 10)
        await asyncio.to_thread(store.restart)
        publishing += [asyncio.create_task(bus.publish("stored", event(number))) for number in range(100, 150)]
        await asyncio.gather(*publishing)
        await owner.wait(lambda: len(owner.events) >= 150)

        assert ids(owner.events) == list(range(150))

    broker.run(test)


def test_what_was_published_while_no_bridge_ran_is_stored_later(broker: Broker) -> None:
    async def test(bus: EventBus) -> None:
        await bus.publish("away", event(0))
        assert broker._bridges is not None
        await broker._bridges.stop()
        inner: FrontedBus = bus._bus  # type: ignore[attr-defined]  # past the bridges
        for number in (1, 2, 3):
            await inner.publish("away", event(number))
        broker._bridges = Bridges(broker.key, broker.options)
        await broker._bridges.bridge(inner, "away")
        await broker._bridges.stored(cloudevents.dedupe_id("/test", "3"))
        owner = await Owner.open(inner, broker.subscription("away"))

        assert ids(await owner.take(4)) == [0, 1, 2, 3]

    broker.run(test)


def test_nothing_is_published_before_the_bridge_of_its_subscribers_stands(broker: Broker) -> None:
    bus = raw(broker)
    subscription = broker.subscription("early")

    async def test() -> None:
        await bus.connect()
        openings = Openings(patience=0.2)
        openings.declare([subscription])
        gate = Gate(bus, broker.key, openings)
        await bus.open(subscription, worker="w", deliver=lambda _: None, lost=lambda _: None)
        with pytest.raises(LagUnknown, match="brings early"):
            await bus.lag(subscription)
        with pytest.raises(Unreachable, match="not open yet"):
            await gate.publish("early", event(0))
        await bus.bridged("early")
        await gate.publish("early", event(1))

        assert await bus.lag(subscription) == 0
        assert isinstance(gate.store, Gate)

    alone(bus, test)


def test_what_is_no_event_or_too_large_is_refused_before_the_broker_has_it(broker: Broker) -> None:
    bus = raw(broker)

    async def test() -> None:
        with pytest.raises(Unreachable, match="not connected"):
            await bus.publish("x", event(0))
        await bus.connect()
        with pytest.raises(cloudevents.Malformed):
            await bus.publish("x", b"{}")
        with pytest.raises(TooLarge):
            await bus.publish("x", event(0, size=4 << 20))

    alone(bus, test)


def trouble(store: Nats, **fields: str) -> BusError:
    """What an MQTT bus says that stays disconnected; its store is there all the while."""
    bus = raw(Broker("mqtt", {"url": "", **fields, **options(store, fields["url"])}, store))
    found: list[BusError] = []

    async def test() -> None:
        await bus.connect()
        await until(lambda: bus.trouble is not None and "not answered yet" not in str(bus.trouble))
        assert not bus.connected
        assert bus.trouble is not None
        found.append(bus.trouble)

    alone(bus, test)
    return found[0]


def test_each_way_of_not_connecting_has_its_reason(store: Nats, tmp_path: Path) -> None:
    issuer = authority(tmp_path / "ca")
    tls = (issuer.ca, *issuer.issue("127.0.0.1", expired=True))
    locked = start_mosquitto(tmp_path / "locked", user="u", password="right", tls=tls)
    try:
        reasons = {
            "password": trouble(store, url=locked.url, user="u", password="wrong"),
            "certificate": trouble(store, url=locked.tls_url, caCert=issuer.ca),
            "port": trouble(store, url=f"mqtt://127.0.0.1:{spare()}"),
            "protocol": trouble(store, url=store.url.replace("nats:", "mqtt:")),
            "name": trouble(store, url="mqtt://no-such-host.invalid"),
        }
    finally:
        locked.stop()

    assert {name: error.reason for name, error in reasons.items()} == {
        "password": "AuthFailed",
        "certificate": "CertificateExpired",
        "port": "ConnectionRefused",
        "protocol": "NotABroker",
        "name": "HostUnknown",
    }
    assert not any("wrong" in str(error) for error in reasons.values())


def test_user_password_and_tls_are_used(store: Nats, tmp_path: Path) -> None:
    issuer = authority(tmp_path / "ca")
    broker = start_mosquitto(
        tmp_path / "secure", user="u", password="s@cret", tls=(issuer.ca, *issuer.issue("127.0.0.1"))
    )
    secure = {"user": "u", "password": "s@cret", "caCert": issuer.ca}
    on = Broker("mqtt", options(store, broker.tls_url.replace("mqtts", "tcp"), tls="true", **secure), store)

    async def test(bus: EventBus) -> None:
        await bus.publish("secure", event(1))
        owner = await Owner.open(bus, on.subscription("secure"))

        assert ids(await owner.take(1)) == [1]

    try:
        on.run(test)
    finally:
        broker.stop()


def test_a_broker_that_speaks_3_1_1_only_will_do(store: Nats) -> None:
    """nats-server's own MQTT listener refuses MQTT 5."""
    on = Broker("mqtt", options(store, f"mqtt://127.0.0.1:{store.mqtt_port}"), store)

    async def test(bus: EventBus) -> None:
        await asyncio.gather(*(bus.publish("old", event(number)) for number in range(50)))
        owner = await Owner.open(bus, on.subscription("old"))

        assert ids(await owner.take(50)) == list(range(50))

    on.run(test)
