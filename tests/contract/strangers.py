"""What others do to a Kafka cluster: an operator who makes topics, and producers that know nothing of us."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaProducer

from eventbus.bus import EventBus
from eventbus.kafka import wire as kafka_wire
from tests.contract.harness import Broker, event

STRUCTURED = ("content-type", b"application/cloudevents+json")


@asynccontextmanager
async def foreign(broker: Broker, **settings: Any) -> AsyncIterator[AIOKafkaProducer]:
    """Somebody else's producer."""
    producer = AIOKafkaProducer(bootstrap_servers=broker.options["brokers"], **settings)
    await producer.start()
    try:
        yield producer
    finally:
        await producer.stop()


async def make(bus: EventBus, topic: str, partitions: int = 1, **settings: str) -> None:
    """A topic as an operator makes it."""
    cluster = bus._cluster  # type: ignore[attr-defined]  # the connection there is
    await cluster.call(None, kafka_wire.create_topic(topic, partitions, settings))
    while len(await cluster.partitions(topic)) < partitions:  # noqa: ASYNC110  # nothing tells when
        await asyncio.sleep(0.02)
    while any(cluster.leader((topic, number)) is None for number in range(partitions)):
        await cluster.refresh()


async def put(producer: AIOKafkaProducer, values: Iterable[int], **more: Any) -> None:
    for number in values:
        await producer.send_and_wait("topic", event(number), headers=[STRUCTURED], **more)
