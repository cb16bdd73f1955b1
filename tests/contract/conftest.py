"""The backends that keep the contract, and the real brokers below them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from eventbus.connect import STORE
from tests.brokers import Nats, start_nats
from tests.contract.harness import Broker
from tests.kafka import Kafka, start_kafka
from tests.mosquitto import start_mosquitto
from tests.redis import start_redis
from tests.sources.nats_world import outsider


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("bus"), "os")
    yield nats
    nats.stop()


@pytest.fixture(scope="package")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    cluster = start_kafka(tmp_path_factory.mktemp("kafka"))
    yield cluster
    cluster.stop()


class Fronted(NamedTuple):
    """A broker in front of a store."""

    options: dict[str, str]


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory, server: Nats) -> Iterator[Fronted]:
    broker = start_mosquitto(tmp_path_factory.mktemp("mosquitto"))
    yield Fronted({"url": broker.url, **{STORE + name: value for name, value in server.options.items()}})
    broker.stop()


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory, server: Nats) -> Iterator[Fronted]:
    broker = start_redis(tmp_path_factory.mktemp("redis"))
    own = {"redisHost": broker.host, "dapr": "true"}
    yield Fronted({**own, **{STORE + name: value for name, value in server.options.items()}})
    broker.stop()


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory, server: Nats) -> Iterator[Fronted]:
    """Somebody else's NATS, with a stream for whatever has one token."""
    theirs = start_nats(tmp_path_factory.mktemp("streams"), "os")
    try:
        asyncio.run(_stream(theirs))
        own = {**theirs.options, "start": "new", "dapr": "true"}
        yield Fronted({**own, **{STORE + name: value for name, value in server.options.items()}})
    finally:
        theirs.stop()


async def _stream(server: Nats) -> None:
    async with outsider(server.options) as client:
        await client.stream("THEIRS", "*")


SERVERS = {"nats": "server", "kafka": "kafka", "mqtt": "mosquitto", "redis": "redis", "jetstream": "streams"}
"""Kind -> the fixture of its broker."""
KINDS = ["memory", *(pytest.param(kind, marks=pytest.mark.broker) for kind in SERVERS)]


def on(request: pytest.FixtureRequest) -> Broker:
    kind: str = request.param
    server = request.getfixturevalue(SERVERS[kind]) if kind in SERVERS else None
    return Broker(kind, server.options if server else {}, server)


@pytest.fixture(params=KINDS)
def broker(request: pytest.FixtureRequest) -> Broker:
    return on(request)


@pytest.fixture(params=["memory", pytest.param("nats", marks=pytest.mark.broker)])
def limited(request: pytest.FixtureRequest) -> Broker:
    """On the backends that have a limit of their own; Kafka's are quotas and retention, set there."""
    return on(request)


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.broker) for kind in ("nats", "kafka")])
def brokered(request: pytest.FixtureRequest) -> Broker:
    """On the backends that store events themselves, in a process that can be killed."""
    return on(request)


@pytest.fixture
def real(server: Nats) -> Broker:
    return Broker("nats", server.options, server)
