"""How the proxy fills in what only a machine knows of MQTT: the store of a bus, the listener, the name of a bridge."""

from __future__ import annotations

from api.meta import Key
from api.model import Bus, Source
from api.platform import Platform
from eventbus.embedded import DEVICES
from proxy import buses, sources

HERE = Platform(
    http="h:1", mqtt="h:2", nats="h:3", dapr="h:4", nats_user="evoke", nats_password="secret", key="00" * 32
)
THERE = Platform(
    http="h:1", mqtt="h:2", nats="h:3", dapr="h:4", nats_user="evoke", nats_password="secret", key="11" * 32
)
KEY = Key("default", "plant")


def source(kind: str, **options: str) -> Source:
    return Source(key=Key("default", "es.e"), kind=kind, options=dict(options), bus=KEY, subject="s")  # type: ignore[arg-type]  # the test's literals


def test_an_mqtt_bus_is_stored_on_the_platforms_broker() -> None:
    made = buses.embedded(Bus(key=KEY, kind="mqtt", options={"url": "mqtt://b", "user": "u"}), HERE)

    assert {name: made.options[name] for name in ("url", "user", "store.url", "store.user", "store.password")} == {
        "url": "mqtt://b",
        "user": "u",
        "store.url": "nats://h:3",
        "store.user": "evoke",
        "store.password": "secret",
    }


def test_sources_without_an_address_are_those_of_the_platform() -> None:
    mqtt = sources.embedded(source("mqtt", topic="t"), HERE)
    nats = sources.embedded(source("nats", subject="t"), HERE)

    assert mqtt.options == {
        "topic": "t",
        "url": "mqtt://h:2",
        "store.url": "nats://h:3",
        "store.user": DEVICES,
        "store.password": "secret",
    }
    assert nats.options == {"subject": "t", "url": "nats://h:3", "user": "evoke", "password": "secret"}
    assert sources.embedded(source("mqtt", url="mqtt://b"), HERE).options == {"url": "mqtt://b"}
    assert sources.embedded(source("cron"), HERE).options == {}


def test_a_broker_of_a_component_is_stored_on_the_platforms_broker_too() -> None:
    for kind in ("redis", "jetstream"):
        made = buses.embedded(Bus(key=KEY, kind=kind, options={"url": "x"}), HERE)  # type: ignore[arg-type]  # literals
        assert made.options["store.url"] == "nats://h:3"
    memory = buses.embedded(Bus(key=KEY, kind="nats", options={"dapr": "true"}), HERE)
    assert memory.options["url"] == "nats://h:3"


def test_what_the_platform_makes_for_itself_has_names_of_its_own() -> None:
    for one in (source("redis", bridge="true"), source("nats", bridge="true"), source("mqtt", binding="b", url="u")):
        assert str(sources.embedded(one, HERE).options["consumerID"]).startswith("evoke-")
    assert "consumerID" not in sources.embedded(source("kafka", binding="b"), HERE).options


def test_two_platforms_do_not_take_each_others_bridges() -> None:
    bridge = source("mqtt", url="mqtt://b", topic="t", bridge="true")
    mine, again, theirs = (sources.embedded(bridge, platform).options for platform in (HERE, HERE, THERE))

    assert mine["consumerID"] == again["consumerID"] != theirs["consumerID"]
    assert len(str(mine["consumerID"])) == 23
