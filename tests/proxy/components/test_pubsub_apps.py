"""Apps at the end of each broker: what they see of an event, of bare bytes, and of what the broker says beside them."""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaProducer

from api.model import Component, Snapshot
from eventbus import raw
from tests.kafka import Kafka
from tests.proxy.apps_plant import listing
from tests.proxy.components.conftest import Make
from tests.proxy.components.pubsub_world import World, run, topic
from tests.proxy.plant import FAST, Plant, event, until
from tests.replicas.apps import Answer, GrpcServer, HttpServer, Request

pytestmark = pytest.mark.broker

BODY = b"\x00\xff raw"


async def serve(plant: Plant, *servers: HttpServer | GrpcServer) -> None:
    """These are the replicas of the plant's app, and its bus is a component's."""
    component = Component(key=plant.subscription.bus, type="pubsub.any", version="v1")
    plant.wiring.directory.declare([Snapshot(namespace=component.key.namespace, components=(component,))])
    plant.table.update(listing(1, *servers))


async def drop(_request: Request) -> Answer:
    return 200, {}, b'{"status":"DROP"}'


def carrier() -> bytes:
    return raw.wrap(BODY, id="r", source="/app", type="t", time=datetime.now(UTC))


def test_what_an_app_drops_reaches_who_reads_its_dead_letters(world: World) -> None:
    async def test(world: World) -> None:
        policy = msgspec.structs.replace(FAST, dead_letter=topic(world, "dead"))
        async with HttpServer(drop) as app, HttpServer() as reader, HttpServer() as bare:
            await serve(await world.subscribe(topic(world, "dead"), path="/dead", group="reader"), reader)
            await serve(await world.subscribe(topic(world, "dead"), path="/dead", group="bare", form="raw"), bare)
            await serve(await world.subscribe(topic(world), path="/orders", delivery=policy), app)
            await world.bus.publish(topic(world), event(7), dedupe="d7")
            await until(lambda: reader.events and bare.events, 30)
            await world.bus.publish(topic(world), carrier(), dedupe="d8")
            await until(lambda: len(bare.events) == 2, 30)

        assert [one["path"] for one in app.requests] == ["/orders"] * 2
        (copy,) = [one for one in reader.events if one["id"] == "7"]
        assert {**copy, **json.loads(event(7))} == copy
        assert (copy["evokereason"], copy["evokeattempts"]) == ("rejected", 1)
        assert b64decode(bare.events[1]["data_base64"]) == BODY

    run(world, test)


def test_headers_of_kafka_are_headers_of_the_request(make: Make, kafka: Kafka) -> None:
    async def test(world: World) -> None:
        await world.bus.publish(topic(world), event(0), dedupe="d0")  # makes the topic
        producer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap)
        await producer.start()
        try:
            async with HttpServer() as app, GrpcServer() as other:
                await serve(await world.subscribe(topic(world), path="/orders"), app)
                await serve(await world.subscribe(topic(world), path="orders", group="other"), other)
                headers = [("who", b"me"), ("content-length", b"7"), ("dapr-api-token", b"stolen")]
                sent = await producer.send_and_wait(topic(world), event(1), key=b"k1", headers=headers)
                await until(lambda: app.requests and other.callbacks.requests, 30)
        finally:
            await producer.stop()

        seen: dict[str, Any] = app.requests[0]["headers"]
        told = {"__key": "k1", "__topic": topic(world), "__offset": str(sent.offset), "who": "me", "pubsubname": "bus"}
        assert {name: seen[name] for name in told} == told
        assert "dapr-api-token" not in seen
        assert {name: other.callbacks.metadata[0][name] for name in told} == told
        assert json.loads(app.requests[0]["body"])["id"] == "1"

    run(make("kafka"), test)


def test_an_app_is_told_the_topic_behind_a_wildcard(make: Make) -> None:
    async def test(world: World) -> None:
        async with GrpcServer() as app:
            await serve(await world.subscribe(f"{world.namespace}/plants/+"), app)
            published = f"{world.namespace}/plants/7"
            members = json.loads(event(1)) | {"topic": published, "pubsubname": "bus"}
            await world.bus.publish(published, json.dumps(members).encode(), dedupe="d1")
            await until(lambda: app.callbacks.requests, 30)

        (request,) = app.callbacks.requests
        assert (request.topic, request.pubsub_name) == (published, "bus")

    run(make("mqtt3"), test)
