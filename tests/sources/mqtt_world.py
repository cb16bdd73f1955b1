"""What the tests of MQTT sources share: a device that publishes, a bus that keeps, a source that runs."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.properties import Properties

from api.meta import Key
from api.model import Source
from eventbus import embedded
from tests.brokers import Nats
from triggers.sources import EventSource, mqtt

numbers = itertools.count()


def start_impatient(directory: Path) -> Nats:
    """A nats-server whose MQTT side sends again soon what was not acknowledged."""
    nats = Nats(directory, "os")
    impatient = f"no_auth_user: {embedded.GUEST}\n  ack_wait: 500ms\n  max_ack_pending: 256\n"
    nats.start(embedded.config(nats.settings).replace(f"no_auth_user: {embedded.GUEST}\n", impatient))
    return nats


class Publisher:
    """A device: publishes with QoS 1 and waits for each PUBACK."""

    def __init__(self, port: int, version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv311) -> None:
        self._client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()

    def send(
        self, topic: str, payload: bytes | str, *, retain: bool = False, qos: int = 1, said: Properties | None = None
    ) -> None:
        self._client.publish(topic, payload, qos=qos, retain=retain, properties=said).wait_for_publish(10)

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


class Bus:
    """Keeps what is published; refuses while *refusing* holds an error, waits while *closed*."""

    def __init__(self) -> None:
        self.events: list[dict[str, object]] = []
        self.keys: list[str] = []
        self.dedupes: list[str] = []
        self.refusing: Exception | None = None
        self.slow: tuple[str, asyncio.Event] | None = None
        """Key whose events wait until the event is set."""
        self.open = asyncio.Event()
        self.open.set()
        self.asked = 0
        self._changed = asyncio.Event()

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None:
        self.asked += 1
        self._changed.set()
        await self.open.wait()
        if self.slow is not None and self.slow[0] == key:
            await self.slow[1].wait()
        if self.refusing is not None:
            raise self.refusing
        self.events.append(json.loads(payload))
        self.keys.append(key)
        self.dedupes.append(dedupe)
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
async def running(source: EventSource, bus: Bus, *, wait: bool = True) -> AsyncIterator[None]:
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
