"""Functions on an MQTT bus, and on NATS and MQTT sources, in a whole platform: nothing lost, whatever is killed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mosquitto import Mosquitto, start_mosquitto
from tests.platform import Platform, started, until
from tests.sources.mqtt_world import Publisher

pytestmark = [pytest.mark.platform, pytest.mark.broker]

CODE = """
import os
import functions_framework as ff

RECEIPTS = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def double(event):
    return {"n": event.data["n"] * 2}

@ff.cloud_event
def keep(event):
    os.write(RECEIPTS, f"{event.data['n']}\\n".encode())
"""
BUS = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {{name: plant}}
spec:
  mqtt: {{url: "{url}"}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: double}}
spec:
  serving:
    handler: main:double
    triggers: {{dapr: [{{name: plant, type: pubsub, topic: numbers/in}}]}}
    outputs: [{{dapr: {{name: plant, type: pubsub, topic: numbers/out}}}}]
    params: {{RECEIPTS: "{receipts}"}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: keep}}
spec:
  serving:
    handler: main:keep
    triggers: {{dapr: [{{name: plant, type: pubsub, topic: numbers/out}}]}}
    params: {{RECEIPTS: "{receipts}"}}
"""
SOURCES = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {{name: field}}
spec:
  mqtt: {{readings: {{topic: field/#}}}}
  nats: {{ticks: {{subject: ticks}}}}
  sink: {{ref: {{kind: Function, name: keep}}}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: keep}}
spec:
  serving:
    handler: main:keep
    triggers: {{}}
    params: {{RECEIPTS: "{receipts}"}}
"""


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.stop()


def numbers(path: Path) -> list[int]:
    return [int(line) for line in path.read_text().splitlines()] if path.exists() else []


def project(folder: Path, manifest: str) -> Path:
    folder.mkdir()
    (folder / "main.py").write_text(CODE)
    (folder / "evoke.yaml").write_text(manifest)
    return folder


def publish(platform: Platform, first: int, count: int) -> None:
    for number in range(first, first + count):
        platform.evoke("publish", "numbers/in", "--bus", "plant", "-d", f'{{"n": {number}}}')


def test_functions_and_clients_share_a_broker(mosquitto: Mosquitto, tmp_path: Path) -> None:
    kept = tmp_path / "receipts"
    manifest = BUS.format(url=mosquitto.url, receipts=kept)
    with started(project(tmp_path / "project", manifest)) as platform:
        platform.wait_ready("double", "keep")
        publish(platform, 1, 3)
        until(lambda: sorted(numbers(kept)) == [2, 4, 6], what="the platform's own events go round by the broker")

        device = Publisher(mosquitto.port)
        platform.kill("plane")
        for number in range(10, 60):
            device.send("numbers/in", f'{{"n": {number}}}')
        until(lambda: len(set(numbers(kept))) == 53, what="the broker kept for the bridge what came meanwhile")
        platform.kill("nats")
        for number in range(60, 80):
            device.send("numbers/in", f'{{"n": {number}}}')
        device.stop()
        until(lambda: len(set(numbers(kept))) == 73, what="nothing is lost by a killed store")

        mosquitto.stop()
        until(lambda: "False" in connected(platform), what="the bus says that its broker is away")
        mosquitto.start()
        until(lambda: connected(platform) == "True", what="and that it is back")
        publish(platform, 100, 1)
        until(lambda: 200 in numbers(kept), what="and goes on")


def connected(platform: Platform) -> str:
    """Status and, where it is not True, reason of the bus's condition Connected."""
    found = platform.request("GET", "/v1/resources/EventBus/default/plant")["status"]["conditions"]
    one = next(condition for condition in found if condition["type"] == "Connected")
    return "True" if one["status"] == "True" else f"{one['status']} {one['reason']}"


def test_sources_without_an_address_are_those_of_the_platforms_own_broker(tmp_path: Path) -> None:
    kept = tmp_path / "receipts"
    with started(project(tmp_path / "project", SOURCES.format(receipts=kept))) as platform:
        platform.wait_ready("keep")
        device = Publisher(int(platform.platform()["mqtt"].rpartition(":")[2]))
        for number in range(50):
            device.send("field/1", f'{{"n": {number}}}')
        until(lambda: numbers(kept) == list(range(50)), what="each reading once, in order")
        platform.kill("plane")
        for number in range(50, 100):
            device.send("field/1", f'{{"n": {number}}}')
        device.stop()
        until(lambda: len(set(numbers(kept))) == 100, what="nothing is lost by a killed proxy")
        assert list(dict.fromkeys(numbers(kept))) == list(range(100))

        platform.evoke("publish", "ticks", "--source", "field.ticks", "-d", '{"n": 1000}')
        until(lambda: 1000 in numbers(kept), what="a NATS subject of the platform's broker")
