"""Brokers that a daprd and we reach, one of each for a module."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from typing import Any

import pytest
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from tests.daprd.sidecar import Bus, component, program
from tests.kafka import start_kafka
from tests.mosquitto import start_mosquitto


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    program()
    broker = start_kafka(tmp_path_factory.mktemp("kafka"))

    async def create(topics: Sequence[str]) -> None:
        admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap)
        await admin.start()
        try:
            await admin.create_topics([NewTopic(topic, 1, 1) for topic in topics])
        finally:
            await admin.close()

    def bus(topics: Sequence[str]) -> dict[str, Any]:
        asyncio.run(create(topics))
        metadata = {"brokers": broker.bootstrap, "authType": "none", "initialOffset": "oldest", "disableTls": "true"}
        return component("pubsub.kafka", metadata)

    yield bus
    broker.stop()


@pytest.fixture(scope="module")
def mqtt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bus]:
    program()
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield lambda _topics: component("pubsub.mqtt3", {"url": broker.url, "qos": "1"})
    broker.stop()


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack
