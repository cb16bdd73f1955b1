"""A function on a Kafka bus: from 0 to N and back, in order, nothing lost when the broker is killed."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka import AIOKafkaProducer

from tests.kafka import Kafka, start_kafka
from tests.platform import started, until

pytestmark = [pytest.mark.platform, pytest.mark.broker]

CODE = """
import os
import time
import functions_framework as ff

RECEIPTS = os.open(os.environ["RECEIPTS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)

@ff.cloud_event
def keep(event):
    time.sleep(0.005)
    if event.data.get("bad"):
        raise ff.Reject("bad")
    os.write(RECEIPTS, f"{event['partitionkey']} {event.data['n']}\\n".encode())
"""
MANIFEST = """
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {{name: shop}}
spec:
  kafka: {{brokers: "{brokers}", partitions: 3}}
---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: keep}}
spec:
  serving:
    triggers:
      dapr: [{{name: shop, type: pubsub, topic: orders}}]
    concurrency: 4
    params: {{RECEIPTS: "{receipts}"}}
    scaleOptions: {{minReplicas: 0, maxReplicas: 3, keda: {{scaledObject: {{cooldownPeriod: 1}}}}}}
"""
KEYS, EACH = 8, 40


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    cluster = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield cluster
    cluster.stop()


def receipts(path: Path) -> dict[str, list[int]]:
    """Key -> numbers in the order in which they were handled."""
    found: dict[str, list[int]] = {}
    for line in path.read_text().splitlines() if path.exists() else ():
        key, number = line.split()
        found.setdefault(key, []).append(int(number))
    return found


def distinct(path: Path) -> int:
    return sum(len(set(numbers)) for numbers in receipts(path).values())


async def send(kafka: Kafka, first: int, count: int) -> None:
    """As a program that knows nothing of us: plain JSON with a key."""
    producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
    await producer.start()
    for number in range(first, first + count):
        for key in range(KEYS):
            await producer.send("orders", json.dumps({"n": number}).encode(), key=f"k{key}".encode())
    await producer.flush()
    await producer.stop()


def test_a_function_follows_kafka_from_nothing_and_back(kafka: Kafka, tmp_path: Path) -> None:
    project, kept = tmp_path / "project", tmp_path / "receipts"
    project.mkdir()
    (project / "main.py").write_text(CODE)
    (project / "function.yaml").write_text(MANIFEST.format(brokers=kafka.bootstrap, receipts=kept))
    with started(project) as platform:
        platform.wait_ready("keep")
        # waits until the function's subscription is open; what others store before that is older than the function
        platform.evoke("publish", "orders", "--bus", "shop", "-d", '{"n": 1000}', "--key", "first")
        until(lambda: distinct(kept) == 1, what="one event wakes it")
        asyncio.run(send(kafka, 0, EACH))
        until(lambda: distinct(kept) == KEYS * EACH + 1, what="the first half is handled")
        in_order = [numbers for key, numbers in receipts(kept).items() if key != "first"]
        assert in_order == [list(range(EACH))] * KEYS
        until(lambda: not platform.replicas("keep"), what="back to zero")

        platform.evoke("publish", "orders", "--bus", "shop", "-d", '{"n": 40}', "--key", "k0")
        until(lambda: distinct(kept) == KEYS * EACH + 2, what="one event wakes it again")
        platform.evoke("publish", "orders", "--bus", "shop", "-d", '{"n": 41, "bad": true}', "--key", "k0")
        until(lambda: "bad" in platform.evoke("dead-letters", "list", "keep").stdout, what="a dead letter")

        asyncio.run(send(kafka, 50, EACH))
        kafka.restart()
        platform.kill("plane")
        until(lambda: distinct(kept) == 2 * KEYS * EACH + 2, what="nothing is lost by two kills")
        for numbers in receipts(kept).values():
            firsts = list(dict.fromkeys(numbers))
            assert firsts == sorted(firsts)
        until(lambda: not platform.replicas("keep"), what="back to zero again")
        assert "bad" in platform.evoke("dead-letters", "list", "keep").stdout
