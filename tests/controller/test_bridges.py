"""An MQTT bus has a bridge for every subject that is read, and nobody else has one."""

from __future__ import annotations

import msgspec

from api.meta import Key, SecretKeyRef
from api.model import Bus, Source, Subscription
from controller.bridges import bridges
from controller.plan import plan
from controller.snapshot import snapshot
from tests.controller import worlds
from tests.controller.worlds import BUS, LISTENER, resource

MQTT = Bus(
    key=Key("default", "field"),
    kind="mqtt",
    options={"url": "tcp://b", "password": SecretKeyRef(name="s", key="k")},
)
NATS = Bus(key=Key("default", "other"), kind="nats")


def subscription(name: str, subject: str, bus: Bus = MQTT) -> Subscription:
    return Subscription(key=Key("default", name), bus=bus.key, subject=subject, group=name)


def test_each_subject_has_one_whoever_reads_it() -> None:
    read = [subscription("a", "orders"), subscription("b", "orders"), subscription("c", "x+y")]
    read.append(subscription("d", "orders", NATS))
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


def component(kind: str, **options: str) -> Bus:
    return Bus(key=Key("default", "field"), kind=kind, options={**options, "dapr": "true"})  # type: ignore[arg-type]  # the test's literals


def test_every_broker_in_front_is_read_by_a_source_of_its_kind() -> None:
    rows = [
        (component("mqtt", url="u", retain="true"), "a/+/50%", "mqtt", {"url": "u", "topic": "a/+/50%", "qos": "1"}),
        (component("mqtt", url="u"), "$share/g/a/#", "mqtt", {"url": "u", "topic": "a/#", "qos": "1"}),
        (component("redis", redisHost="h"), "orders", "redis", {"redisHost": "h", "stream": "orders"}),
        (
            component("jetstream", url="n", start="all"),
            "o.new",
            "nats",
            {"url": "n", "start": "all", "subject": "o.new"},
        ),
    ]
    for bus, subject, kind, options in rows:
        (made,) = bridges([subscription("a", subject, bus)], {bus.key: bus})

        assert (made.kind, made.subject) == (kind, subject)
        assert made.options == {**options, "dapr": "true", "bridge": "true"}


def test_they_stand_in_the_snapshot() -> None:
    found = snapshot("default", buses=[MQTT], subscriptions=[subscription("a", "orders")])

    assert [one.key.name for one in found.sources] == ["eventbus/field.orders"]


def connected(sources: dict[str, str]) -> tuple[str, str]:
    """Condition Connected of an mqtt bus whose one subject a function reads."""
    bus = resource(BUS.replace('nats: {url: "nats://bus.example:4222"}', 'mqtt: {url: "tcp://b"}'))
    listener = resource(LISTENER.replace("name: default,", "name: other,"))
    world = worlds.world([bus, listener])
    observed = msgspec.structs.replace(world.observed, buses={"default/other": ""}, sources=sources)
    made = plan(msgspec.structs.replace(world, observed=observed))
    (status,) = [one for one in made.statuses if one.kind == "EventBus"]
    (found,) = [one for one in status.conditions if one.type == "Connected"]
    return found.status, found.reason


def test_the_bus_speaks_for_its_bridges() -> None:
    bridge = "default/eventbus/other.alerts"

    assert connected({bridge: ""}) == ("True", "Connected")
    assert connected({}) == ("Unknown", "Unassigned")
    assert connected({bridge: "SessionTaken: another client"}) == ("False", "SessionTaken")
    assert connected({bridge: "", "default/other.alerts": "AuthFailed: of a source"}) == ("True", "Connected")
