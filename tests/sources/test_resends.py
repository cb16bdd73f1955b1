"""nats-server sends again what is not acknowledged: once each without a break, and nothing lost or turned with one.

See docs/decisions/0006-mqtt-resends.md.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from api.meta import Key
from api.model import Source
from eventbus import embedded
from tests.brokers import Nats
from triggers.sources.mqtt import MqttSource
from triggers.sources.mqtt_session import Arrival

pytestmark = pytest.mark.broker
TOPICS = 20


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Nats]:
    nats = Nats(tmp_path, "os")
    yield nats
    nats.stop()


def impatient(server: Nats, ack_wait: str) -> str:
    """The configuration, but everything comes again after *ack_wait*."""
    return embedded.config(server.settings).replace(f'"{embedded.MQTT_ACK_WAIT}"', f'"{ack_wait}"')


def options(server: Nats) -> dict[str, str]:
    return {
        "url": f"mqtt://127.0.0.1:{server.mqtt_port}",
        "topic": "fleet/#",
        "nats": server.settings.nats,
        "natsUser": embedded.bridge(server.user),
        "natsPassword": server.password,
    }


class Fleet:
    """A publisher that keeps up to 100 messages under way; payload *n* of a topic is ``n // repeat``."""

    def __init__(self, server: Nats) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, "fleet", clean_session=False)
        self._client.max_inflight_messages_set(100)
        self._client.connect("127.0.0.1", server.mqtt_port)
        self._client.loop_start()
        self._sent: list[paho.MQTTMessageInfo] = []

    def send(self, count: int, *, repeat: int = 1, first: int = 0) -> None:
        for number in range(first, first + count):
            topic = f"fleet/v{number % TOPICS}"
            self._sent.append(self._client.publish(topic, str(number // TOPICS // repeat), qos=1))

    def settle(self) -> None:
        for info in self._sent:
            info.wait_for_publish(30)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class SlowBus:
    """Takes one message at a time from all topics, each for *delay* seconds; jams once for *jam* seconds."""

    def __init__(self, delay: float, jam: float = 0.0) -> None:
        self.taken: dict[str, list[int]] = defaultdict(list)
        self._delay, self._jam = delay, jam
        self._turn = asyncio.Lock()

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None:
        async with self._turn:
            if self._jam and self.count == 200:
                jam, self._jam = self._jam, 0.0
                await asyncio.sleep(jam)
            await asyncio.sleep(self._delay)
            self.taken[key].append(json.loads(payload)["data"])

    @property
    def count(self) -> int:
        return sum(map(len, self.taken.values()))


async def gather(server: Nats, bus: SlowBus, count: int, repeat: int) -> Counter[str]:
    """Run a source until *count* messages are on the bus and then for long enough to see copies; what arrived."""
    seen: Counter[str] = Counter()
    source = MqttSource(
        Source(key=Key("default", "a.b"), kind="mqtt", options={}, bus=Key("default", "default"), subject="s"),
        options(server),
    )
    arrived = source._arrived

    def count_it(arrival: Arrival) -> None:
        seen["again" if arrival.again else "first"] += 1
        arrived(arrival)

    source._arrived = count_it  # type: ignore[method-assign]  # to see what the broker did
    running = asyncio.create_task(source.run(bus))
    async with asyncio.timeout(60):
        while not source.state().connected:  # noqa: ASYNC110  # nothing tells when
            await asyncio.sleep(0.01)
        fleet = await asyncio.to_thread(Fleet, server)
        await asyncio.to_thread(fleet.send, count, repeat=repeat)
        while bus.count < count:  # noqa: ASYNC110  # the same
            await asyncio.sleep(0.01)
        await asyncio.sleep(1.0)  # copies that are still under way come within some ack_waits
    await asyncio.to_thread(fleet.stop)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return seen


def expected(count: int, repeat: int) -> dict[str, list[int]]:
    return {
        f"fleet/v{topic}": [number // TOPICS // repeat for number in range(topic, count, TOPICS)]
        for topic in range(TOPICS)
    }


@pytest.mark.parametrize("ack_wait", ["30s", "60ms"])
def test_a_slow_bus_gets_every_message_once_and_in_order(server: Nats, ack_wait: str) -> None:
    """With repeated payloads; at 60 ms the broker sends everything that waits again, also what is just acknowledged."""
    server.start(impatient(server, ack_wait))
    bus = SlowBus(0.001)

    seen = asyncio.run(gather(server, bus, 4000, repeat=3))

    print(seen)
    assert dict(bus.taken) == expected(4000, 3)
    assert (seen["again"] > 0) == (ack_wait == "60ms")


def test_a_burst_before_a_jam_does_not_stall(server: Nats) -> None:
    """5,000 messages at once while the bus stands still for a while: it goes on where it was, without a storm."""
    server.start()
    bus = SlowBus(0.0, jam=3.0)
    began = time.monotonic()

    seen = asyncio.run(gather(server, bus, 5000, repeat=1))

    assert dict(bus.taken) == expected(5000, 1)
    assert seen["first"] == 5000
    assert seen["again"] <= 10 * embedded.MQTT_PENDING, "bounded by the window"
    assert time.monotonic() - began < 30


class Bridge:
    def __init__(self, server: Nats, ledger: Path) -> None:
        self._command = [sys.executable, "-m", "tests.sources.bridge", str(ledger), "0.002"]
        self._options = json.dumps(options(server))
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        self._process = subprocess.Popen([*self._command, self._options])

    def kill(self) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.wait(10)


def lines(ledger: Path) -> list[tuple[str, int]]:
    text = ledger.read_text() if ledger.exists() else ""
    return [tuple(json.loads(line)) for line in text.splitlines()]


def wait(ledger: Path, count: int) -> None:
    """Until *count* different messages are in the ledger."""
    limit = time.monotonic() + 20
    while len(set(lines(ledger))) < count:
        assert time.monotonic() < limit, f"{len(set(lines(ledger)))} of {count}"
        time.sleep(0.02)


@pytest.mark.parametrize("victim", ["bridge", "server"])
def test_after_a_kill_nothing_is_lost_and_each_topic_keeps_its_order(server: Nats, tmp_path: Path, victim: str) -> None:
    seed = 20261121
    chance = random.Random(seed)
    ledger, count = tmp_path / "ledger", 3000
    server.start()
    bridge, fleet = Bridge(server, ledger), Fleet(server)
    try:
        bridge.start()
        while not ledger.with_name("ledger.ready").exists():
            time.sleep(0.01)  # before it subscribed nothing is kept for it
        fleet.send(1)
        wait(ledger, 1)
        sent = 1
        for _ in range(3):
            burst = chance.randrange(300, 600)
            fleet.send(burst, first=sent)
            wait(ledger, sent + burst // 3)
            sent += burst
            if victim == "bridge":
                bridge.kill()
                bridge.start()
            else:
                server.restart()
        fleet.send(count - sent, first=sent)
        wait(ledger, count)
    finally:
        bridge.kill()
        fleet.stop()

    first: dict[str, list[int]] = defaultdict(list)
    for topic, number in dict.fromkeys(lines(ledger)):
        first[topic].append(number)
    print(f"seed {seed}, {len(lines(ledger)) - count} came twice")
    assert dict(first) == expected(count, 1)
    assert len(lines(ledger)) - count <= 3 * embedded.MQTT_PENDING
