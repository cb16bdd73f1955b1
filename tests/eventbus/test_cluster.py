"""A cluster of three: `replicas` puts each stream on all of them, and one that dies costs nothing but time."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.platform import LOOPBACK, spare
from eventbus import cloudevents, embedded
from eventbus.bus import EventBus
from eventbus.errors import BusError
from eventbus.jetstream.bus import JetStreamBus
from eventbus.subjects import topic
from tests.contract.harness import TIMEOUT, Broker, Owner, event, ids

pytestmark = pytest.mark.broker

FORMED = 60.0
"""Seconds until the three have found each other and a leader."""


class Cluster:
    def __init__(self, directory: Path) -> None:
        self.ports = [spare() for _ in range(3)]
        self._routes = [spare() for _ in range(3)]
        self._directory = directory
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * 3

    @property
    def url(self) -> str:
        return ",".join(f"nats://{LOOPBACK}:{port}" for port in self.ports)

    def start(self, number: int) -> None:
        folder = self._directory / str(number)
        folder.mkdir(exist_ok=True)
        routes = json.dumps([f"nats://{LOOPBACK}:{port}" for port in self._routes])
        (folder / "nats.conf").write_text(
            f"server_name: n{number}\nlisten: {LOOPBACK}:{self.ports[number]}\n"
            f"jetstream: {{store_dir: {json.dumps(str(folder / 'store'))}}}\n"
            f"cluster: {{name: c, listen: {LOOPBACK}:{self._routes[number]}, routes: {routes}}}\n"
        )
        with (folder / "nats.log").open("ab") as log:
            command = [embedded.binary(), "-c", folder / "nats.conf"]
            self._processes[number] = subprocess.Popen(command, stdout=log, stderr=log)

    def kill(self, number: int) -> None:
        if process := self._processes[number]:
            process.kill()
            process.wait(20)
            self._processes[number] = None


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    made = Cluster(tmp_path)
    for number in range(3):
        made.start(number)
    yield made
    for number in range(3):
        made.kill(number)


async def surely(bus: EventBus, number: int) -> None:
    """Publish until acknowledged, as whoever must not lose it does."""
    until = time.monotonic() + FORMED
    while True:
        try:
            identity = cloudevents.dedupe_id("/test", str(number))
            await bus.publish("topic", event(number), dedupe=identity)
        except BusError:
            assert time.monotonic() < until
            await asyncio.sleep(0.1)  # the cluster elects a leader, and nobody is told
        else:
            return


async def formed(broker: Broker) -> EventBus:
    until = time.monotonic() + FORMED
    while True:
        try:
            return await broker.connect()
        except BusError:
            assert time.monotonic() < until
            await asyncio.sleep(0.2)  # the cluster elects a leader, and nobody is told


def test_a_stream_on_three_servers_outlives_any_one(cluster: Cluster) -> None:
    broker = Broker("nats", {"url": cluster.url, "replicas": "3", "durability": "sync"}, cluster)

    async def test() -> None:
        bus = await formed(broker)
        assert isinstance(bus, JetStreamBus)
        try:
            owner = await Owner.open(bus, broker.subscription())
            owner.intake.request(1000)
            await surely(bus, 0)
            config = json.loads(await bus._js.call(f"STREAM.INFO.{topic(broker.key, 'topic').stream}"))["config"]
            assert config["num_replicas"] == 3
            for number in range(3):
                first = 1 + number * 50
                publishing = asyncio.gather(*(surely(bus, one) for one in range(first, first + 50)))
                await asyncio.to_thread(cluster.kill, number)
                async with asyncio.timeout(FORMED):
                    await publishing
                await asyncio.to_thread(cluster.start, number)
            async with asyncio.timeout(FORMED):
                while len(owner.events) < 151:  # noqa: ASYNC110  # deliveries go on once there is a leader
                    await asyncio.sleep(0.05)
            assert sorted(ids(owner.events)) == list(range(151))
        finally:
            async with asyncio.timeout(TIMEOUT):
                await bus.close()

    asyncio.run(test())
    with warnings.catch_warnings():  # nats-py leaves open what a killed server did not greet
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
