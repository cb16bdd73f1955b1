"""What the pub/sub components and the cron binding become in the neutral model; no broker."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from api.meta import Key, SecretKeyRef
from api.model import Component, Option
from proxy.components import registry

PEM = "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"
SECRET = SecretKeyRef(name="kafka", key="password")


def component(type_: str, metadata: Mapping[str, Option], name: str = "bus") -> Component:
    return Component(key=Key("shop", name), type=type_, version="v1", metadata=dict(metadata))


KAFKA: Mapping[str, Option] = {"brokers": "k:9092", "authType": "none"}
LOGIN: Mapping[str, Option] = {"authType": "password", "saslUsername": "u", "saslPassword": SECRET}
LOGGED_IN: Mapping[str, Option] = {"saslUsername": "u", "saslPassword": SECRET}
IDENTITY: Mapping[str, Option] = {"clientCert": PEM, "clientKey": PEM}
ROWS: list[tuple[str, Mapping[str, Option], str, Mapping[str, Option]]] = [
    ("pubsub.kafka", KAFKA, "kafka", {"brokers": "k:9092", "tls": "false"}),
    (
        "pubsub.kafka",
        {"Brokers": "k:9092", **LOGIN, "saslMechanism": "SHA-256"},
        "kafka",
        {"brokers": "k:9092", **LOGGED_IN, "saslMechanism": "SCRAM-SHA-256", "tls": "true"},
    ),
    (
        "pubsub.kafka",
        {**KAFKA, **LOGIN, "disableTls": "true"},
        "kafka",
        {"brokers": "k:9092", **LOGGED_IN, "saslMechanism": "PLAIN", "tls": "false"},
    ),
    (
        "pubsub.kafka",
        {"brokers": "k", "authRequired": "true", **IDENTITY, "skipVerify": "true"},
        "kafka",
        {"brokers": "k", **IDENTITY, "tls": "true", "skipVerify": "true"},
    ),
    (
        "pubsub.kafka",
        {**KAFKA, "initialOffset": "Oldest", "escapeHeaders": "true", "excludeHeaderMetaRegex": "^x", "clientID": "me"},
        "kafka",
        {
            "brokers": "k:9092",
            "tls": "false",
            "start": "all",
            "escapeHeaders": "true",
            "excludeHeaders": "^x",
            "clientID": "me",
        },
    ),
    (
        "pubsub.mqtt3",
        {"url": "tcp://m:1883", "qos": "2", "retain": "true"},
        "mqtt",
        {"url": "tcp://m:1883", "qos": "2", "retain": "true"},
    ),
    ("pubsub.jetstream", {"natsURL": "nats://n:4222"}, "jetstream", {"url": "nats://n:4222", "start": "all"}),
    (
        "pubsub.jetstream",
        {"natsURL": SECRET, "streamName": "S", "deliverPolicy": "sequence", "startSequence": "7", "domain": "hub"},
        "jetstream",
        {"url": SECRET, "stream": "S", "start": "sequence:7", "domain": "hub"},
    ),
    (
        "pubsub.redis",
        {"redisHost": "r:6379", "redisPassword": SECRET, "consumerID": "me", "maxLenApprox": "100", "streamTTL": "1h"},
        "redis",
        {"redisHost": "r:6379", "redisPassword": SECRET, "maxLenApprox": "100", "streamTTL": "1h"}
        | {"consumerGroup": "me"},
    ),
    ("pubsub.in-memory", {}, "nats", {"retain": "0", "wildcards": "true"}),
]


@pytest.mark.parametrize(("type_", "metadata", "kind", "options"), ROWS)
def test_a_component_is_a_bus(
    type_: str, metadata: Mapping[str, Option], kind: str, options: Mapping[str, Option]
) -> None:
    declared = registry.find(type_)
    assert declared is not None
    assert declared.bus is not None
    one = component(type_, metadata)

    made = declared.bus(one)

    assert registry.problems(one) == ()
    assert made.key == one.key
    assert made.kind == kind
    assert made.options == {**options, "dapr": "true"}


BAD: list[tuple[str, Mapping[str, Option], str, str]] = [
    ("pubsub.kafka", {}, "brokers", "missing"),
    ("pubsub.kafka", {**KAFKA, "authType": "oidc"}, "authType", "expected one of"),
    ("pubsub.kafka", {**KAFKA, "authType": "password"}, "saslUsername", "needs saslUsername"),
    ("pubsub.kafka", {**KAFKA, "authType": "certificate"}, "caCert", "needs caCert"),
    ("pubsub.kafka", {**KAFKA, "clientCert": PEM}, "clientCert", "go together"),
    ("pubsub.kafka", {**KAFKA, "schemaRegistryURL": "http://x"}, "schemaRegistryURL", "not supported"),
    ("pubsub.mqtt3", {"url": "tcp://m", "qos": "3"}, "qos", "outside its bounds"),
    ("pubsub.mqtt3", {}, "url", "missing"),
    ("pubsub.jetstream", {"natsURL": "n", "jwt": "x", "seedKey": "y"}, "jwt", "not supported"),
    ("pubsub.jetstream", {"natsURL": "n", "deliverPolicy": "sequence"}, "startSequence", "needs it"),
    ("pubsub.jetstream", {"natsURL": "n", "tls_client_cert": "/a", "tls_client_key": "/b"}, "tls_client_cert", "PEM"),
    ("pubsub.redis", {"redisHost": "r", "useEntraID": "true"}, "useEntraID", "not supported"),
    ("bindings.cron", {}, "schedule", "missing"),
    ("bindings.cron", {"schedule": "* * * *"}, "schedule", "fields"),
    ("bindings.cron", {"schedule": "@hourly", "timeZone": "Mars"}, "schedule", "Mars"),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "metadata", "field", "message"), BAD)
def test_metadata_that_do_not_hold_are_named(
    type_: str, metadata: Mapping[str, Option], field: str, message: str
) -> None:
    found = registry.problems(component(type_, metadata))

    assert [one for one in found if field in one.path and message in one.message], found


def test_what_is_not_needed_says_why() -> None:
    one = component("pubsub.kafka", {**KAFKA, "consumeRetryEnabled": "false", "sessionTimeout": "10s"})

    assert registry.problems(one) == ()
    assert [name for name, _ in registry.notes(one)] == ["consumeRetryEnabled", "sessionTimeout"]


@pytest.mark.parametrize(
    ("metadata", "options"),
    [
        ({"schedule": "@every 15s"}, {"schedule": "@every 15s", "missed": "skip"}),
        ({"schedule": "0 30 * * * *"}, {"schedule": "0 30 * * * *", "missed": "skip"}),
        (
            {"schedule": "CRON_TZ=Europe/Berlin 0 8 * * *", "missed": "once"},
            {"schedule": "0 8 * * *", "missed": "once", "timeZone": "Europe/Berlin"},
        ),
    ],
)
def test_cron_is_a_source(metadata: Mapping[str, Option], options: Mapping[str, Option]) -> None:
    one = component("bindings.cron", metadata, "tick")
    declared = registry.find("bindings.cron")
    assert declared is not None
    assert declared.source is not None

    made = declared.source(one, Key("shop", "report"), "evoke.binding.shop.report.tick")

    assert registry.problems(one) == ()
    assert made.key == Key("shop", "binding/report.tick")
    assert made.bus == Key("shop", "default")
    assert made.subject == "evoke.binding.shop.report.tick"
    assert made.options == {**options, "binding": "tick"}


@pytest.mark.parametrize(
    ("type_", "metadata", "kind", "options"),
    [
        (
            "bindings.kafka",
            {**KAFKA, "topics": "a,b", "initialOffset": "oldest"},
            "kafka",
            {"brokers": "k:9092", "tls": "false", "start": "all", "topic": "a,b", "consumerGroup": "report"},
        ),
        (
            "bindings.mqtt3",
            {"url": SECRET, "topic": "$share/g/a/+", "consumerID": "me", "retain": "true", "qos": "2"},
            "mqtt",
            {"url": SECRET, "topic": "a/+", "qos": "1"},
        ),
    ],
)
def test_an_input_binding_is_a_source(
    type_: str, metadata: Mapping[str, Option], kind: str, options: Mapping[str, Option]
) -> None:
    one = component(type_, metadata, "in")
    declared = registry.find(type_)
    assert declared is not None
    assert declared.source is not None

    made = declared.source(one, Key("shop", "report"), "evoke.binding.shop.report.in")

    assert registry.problems(one) == ()
    assert (made.key, made.kind) == (Key("shop", "binding/report.in"), kind)
    assert made.options == {**options, "binding": "in"}
