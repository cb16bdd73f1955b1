"""Real brokers for the components, and worlds of each pub/sub type around them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import pytest

from tests.brokers import Nats, start_nats
from tests.kafka import Kafka, start_kafka
from tests.mosquitto import Mosquitto, start_mosquitto
from tests.proxy.components.pubsub_world import World
from tests.redis import Redis, start_redis
from tests.sources.nats_world import outsider

TYPES = ["in-memory", "kafka", "mqtt3", "redis", "jetstream"]
Make: TypeAlias = Callable[..., World]
"""(type, namespace of an older world, metadata) -> a world."""


@pytest.fixture(scope="package")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("nats"), "os")
    yield server
    server.stop()


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    cluster = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield cluster
    cluster.stop()


@pytest.fixture(scope="package")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield broker
    broker.stop()


@pytest.fixture(scope="package")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = start_redis(tmp_path_factory.mktemp("redis"))
    yield server
    server.stop()


@pytest.fixture(scope="package")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    """Somebody else's NATS."""
    server = start_nats(tmp_path_factory.mktemp("streams"), "os")
    yield server
    server.stop()


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, nats: Nats) -> Make:
    def made(type_: str, namespace: str = "", **more: str) -> World:
        metadata = {**_address(type_, request), **more}
        return World(tmp_path, nats, f"pubsub.{type_}", metadata, namespace=namespace)

    return made


def _address(type_: str, request: pytest.FixtureRequest) -> dict[str, str]:
    if type_ == "kafka":
        return {"brokers": request.getfixturevalue("kafka").bootstrap, "authType": "none"}
    if type_ == "mqtt3":
        return {"url": f"tcp://127.0.0.1:{request.getfixturevalue('mosquitto').port}"}
    if type_ == "redis":
        return {"redisHost": request.getfixturevalue("redis").host}
    if type_ == "jetstream":
        return {"natsURL": _stream(request.getfixturevalue("streams"))}
    return {}


def _stream(server: Nats) -> str:
    """The server's address, with a stream for every topic of these tests."""

    async def ensure() -> None:
        async with outsider(server.options) as client:
            await client.stream("THEIRS", "t.>")

    asyncio.run(ensure())
    return server.url.replace("nats://", f"nats://{server.user}:{server.password}@")


@pytest.fixture(params=TYPES)
def world(request: pytest.FixtureRequest, make: Make) -> World:
    return make(request.param)


@pytest.fixture
def memory(make: Make) -> World:
    return make("in-memory")


@pytest.fixture
def mqtt(make: Make) -> World:
    return make("mqtt3")
