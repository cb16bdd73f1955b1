"""The snapshot is the same bytes for the same content, in whatever order it came."""

from __future__ import annotations

import random

import msgspec

from api.meta import Key, RevisionKey
from api.model import Backend, Bus, Match, Route, Source, Subscription, UriSink
from controller.plan import describe
from controller.readers.model import TriggerModel
from controller.reading import Models
from controller.snapshot import delivered, resolves, routed, snapshot

BUS = Key("default", "default")
BACKENDS = (Backend(revision=RevisionKey("default", "f", "00001"), weight=0, tag="old"),)


def subscription(name: str) -> Subscription:
    return Subscription(key=Key("default", name), bus=BUS, subject=name, group=name)


def test_order_changes_neither_bytes_nor_digest() -> None:
    parts = {
        "routes": [Route(key=Key("default", name)) for name in "abc"],
        "subscriptions": [subscription(name) for name in "abc"],
        "sources": [Source(key=Key("default", name), kind="cron", bus=BUS, subject=name) for name in "abc"],
        "buses": [Bus(key=Key("default", name), kind="nats") for name in "xyz"],
    }
    shuffled = {name: random.Random(7).sample(items, 3) for name, items in parts.items()}
    one, other = snapshot("default", **parts), snapshot("default", **shuffled)

    assert msgspec.json.encode(one) == msgspec.json.encode(other)
    assert one.digest.startswith("sha256:")
    assert one.digest != snapshot("other", **parts).digest


def test_a_bus_bounds_what_its_subscribers_have_in_flight() -> None:
    bounded = Bus(key=BUS, kind="nats", options={"maxInFlight": "7"})
    found = snapshot("default", buses=[bounded], subscriptions=[subscription("a")])

    assert [one.in_flight for one in found.subscriptions] == [7]
    assert snapshot("default", subscriptions=[subscription("a")]).subscriptions[0].in_flight == 4096


def test_every_namespace_has_the_default_bus_unless_it_declares_it() -> None:
    declared = Bus(key=BUS, kind="kafka")

    assert [(bus.key.name, bus.kind, bus.options) for bus in snapshot("default").buses] == [("default", "nats", {})]
    assert snapshot("default", buses=[declared]).buses == (declared,)
    assert resolves(BUS, ())
    assert not resolves(Key("default", "other"), ())


def test_a_route_loses_the_hosts_of_others_and_sorts_the_rest() -> None:
    route = Route(key=Key("default", "f"), hosts=("b", "a", "c"), matches=(Match(path="/b"), Match(path="/a")))
    again = msgspec.structs.replace(route, matches=route.matches[::-1])

    assert routed(route, BACKENDS, ["b"]).hosts == ("a", "c")
    assert routed(route, BACKENDS) == routed(again, BACKENDS)


def test_events_go_to_weights_only() -> None:
    assert delivered(subscription("a"), BACKENDS).backends == ()


def test_a_subscription_with_a_sink_belongs_to_no_function() -> None:
    sunk = msgspec.structs.replace(subscription("a"), sink=UriSink(url="http://localhost/"))
    models = Models(triggers={Key("default", "t"): TriggerModel(subscriptions=(sunk,))})

    assert list(models.subscriptions("default")) == [(sunk, None)]
    assert describe("default", models, {}).subscriptions == (sunk,)
