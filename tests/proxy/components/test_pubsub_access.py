"""How components log in, and what people are told where that fails; with real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from api.platform import LOOPBACK, spare
from eventbus import embedded
from tests.brokers import Nats
from tests.kafka import PASSWORD, USER, Kafka, start_kafka
from tests.mosquitto import start_mosquitto
from tests.proxy.components.pubsub_world import World, run, topic
from tests.proxy.plant import Replica, event, until
from tests.redis import Redis, start_redis
from tests.sources.nats_world import outsider

pytestmark = pytest.mark.broker
LOGIN = {"authType": "password", "saslUsername": USER, "saslPassword": PASSWORD}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kafka]:
    cluster = start_kafka(tmp_path_factory.mktemp("guarded"), "SASL_PLAINTEXT", "SASL_SSL", "SSL")
    yield cluster
    cluster.stop()


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    server = start_redis(tmp_path_factory.mktemp("locked"), ["requirepass secret"])
    yield server
    server.stop()


async def through(world: World) -> None:
    """An event goes out and comes in."""
    replica = Replica()
    await world.subscribe(topic(world), replica)
    await world.bus.publish(topic(world), event(1), dedupe="d1")
    await until(lambda: replica.numbers == [1], 30)


def kafka_rows(kafka: Kafka) -> dict[str, dict[str, str]]:
    plain, secure, tls = (kafka.address(one) for one in ("SASL_PLAINTEXT", "SASL_SSL", "SSL"))
    return {
        "plain": {"brokers": plain, **LOGIN, "disableTls": "true"},
        "scram": {"brokers": plain, **LOGIN, "saslMechanism": "SHA-512", "disableTls": "true"},
        "tls": {"brokers": secure, **LOGIN, "saslMechanism": "SHA-256", "caCert": kafka.authority.ca},
        "any certificate": {"brokers": secure, **LOGIN, "skipVerify": "true"},
        "certificate": {"brokers": tls, "authType": "certificate", "caCert": kafka.authority.ca},
    }


@pytest.mark.parametrize("way", ["plain", "scram", "tls", "any certificate", "certificate"])
def test_kafka_lets_in_who_logs_in(way: str, tmp_path: Path, nats: Nats, guarded: Kafka) -> None:
    run(World(tmp_path, nats, "pubsub.kafka", kafka_rows(guarded)[way]), through)


def test_redis_and_mqtt_let_in_who_knows_the_password(tmp_path: Path, nats: Nats, locked: Redis) -> None:
    run(World(tmp_path, nats, "pubsub.redis", {"redisHost": locked.host, "redisPassword": "secret"}), through)
    broker = start_mosquitto(tmp_path / "mosquitto", user="me", password="secret")
    try:
        url = f"tcp://me:secret@{LOOPBACK}:{broker.port}"
        run(World(tmp_path, nats, "pubsub.mqtt3", {"url": url}), through)
    finally:
        broker.stop()


BAD = [
    ("pubsub.redis", {"redisHost": "{closed}"}, "ConnectionRefused"),
    ("pubsub.redis", {"redisHost": "{redis}", "redisPassword": "wrong"}, "AuthFailed"),
    ("pubsub.redis", {"redisHost": "{nats}"}, "NotABroker"),
    ("pubsub.redis", {"redisHost": "no.such.host.invalid:6379"}, "HostUnknown"),
    ("pubsub.jetstream", {"natsURL": "nats://{closed}"}, "ConnectionRefused"),
    ("pubsub.jetstream", {"natsURL": "nats://me:wrong@{nats}"}, "AuthFailed"),
    ("pubsub.mqtt3", {"url": "tcp://{closed}"}, "ConnectionRefused"),
    ("pubsub.kafka", {"brokers": "{closed}", "authType": "none"}, "ConnectionRefused"),
    ("pubsub.kafka", {"brokers": "{nats}", "authType": "none"}, "NotABroker"),
]


@pytest.mark.parametrize(("type_", "metadata", "reason"), BAD)
def test_what_is_in_the_way_has_a_reason_of_its_own(
    type_: str, metadata: dict[str, str], reason: str, tmp_path: Path, nats: Nats, locked: Redis
) -> None:
    places = {"closed": f"{LOOPBACK}:{spare()}", "redis": locked.host, "nats": nats.settings.nats}
    world = World(tmp_path, nats, type_, {name: value.format(**places) for name, value in metadata.items()})

    async def main() -> None:
        world.buses.declare([world.declared])
        try:
            async with asyncio.timeout(30):
                while world.buses.readings()[0].reason != reason:  # noqa: ASYNC110  # told once a second
                    await asyncio.sleep(0.05)
            assert "wrong" not in world.buses.readings()[0].message
        finally:
            await world.buses.close()

    asyncio.run(main())


def test_streams_of_another_domain_are_reached_by_its_name(tmp_path: Path, nats: Nats) -> None:
    hub = Nats(tmp_path / "hub")
    hub.directory.mkdir(exist_ok=True)
    embedded.write_config(hub.directory / "nats.conf", hub.settings)
    text = (hub.directory / "nats.conf").read_text()
    hub.start(text.replace("jetstream {\n", 'jetstream {\n  domain: "hub"\n', 1))
    address = f"nats://{hub.user}:{hub.password}@{hub.settings.nats}"
    try:
        asyncio.run(_made(hub))
        run(World(tmp_path, nats, "pubsub.jetstream", {"natsURL": address, "domain": "hub"}), through)
        run(World(tmp_path, nats, "pubsub.jetstream", {"natsURL": address, "apiPrefix": "$JS.hub.API"}), through)
    finally:
        hub.stop()


async def _made(server: Nats) -> None:
    async with outsider(server.options) as client:
        await client.stream("THEIRS", "t.>")
