"""An MQTT bus has a bridge for every subject that is read, and nobody else has one."""

from __future__ import annotations

from api.meta import Key, SecretKeyRef
from api.model import Bus, Source, Subscription
from controller.bridges import bridges
from controller.snapshot import snapshot

MQTT = Bus(key=Key("default", "field"), kind="mqtt", options={"url": "tcp://b", "password": SecretKeyRef(name="s", key="k")})  # fmt: skip
NATS = Bus(key=Key("default", "other"), kind="nats")


def subscription(name: str, subject: str, bus: Bus = MQTT) -> Subscription:
    return Subscription(key=Key("default", name), bus=bus.key, subject=subject, group=name)


def test_each_subject_has_one_whoever_reads_it() -> None:
    read = [subscription("a", "orders"), subscription("b", "orders"), subscription("c", "x+y"), subscription("d", "orders", NATS)]  # fmt: skip
    found = bridges(read, {MQTT.key: MQTT, NATS.key: NATS})

    assert found == (
        Source(
            key=Key("default", "eventbus/field.orders"),
            kind="mqtt",
            options={**MQTT.options, "topic": "orders", "qos": "1", "bridge": "true"},
            bus=MQTT.key,
            subject="orders",
        ),
        Source(
            key=Key("default", "eventbus/field.x+y"),
            kind="mqtt",
            options={**MQTT.options, "topic": "x%2By", "qos": "1", "bridge": "true"},
            bus=MQTT.key,
            subject="x+y",
        ),
    )


def test_they_stand_in_the_snapshot() -> None:
    found = snapshot("default", buses=[MQTT], subscriptions=[subscription("a", "orders")])

    assert [one.key.name for one in found.sources] == ["eventbus/field.orders"]
