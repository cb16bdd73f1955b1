"""Which input bindings an app is asked about, and what it is known by afterwards."""

import pytest

from api.meta import Key, RevisionKey
from api.model import App, AppDeclaration, AppSubscription, Component, Unbuilt, Workload
from controller.local.app_facts import Binding, bindings, descriptor, handlers

APP = App(key=Key("default", "orders"), id="orders")


def component(name, type_="bindings.kafka", scopes=(), **metadata):
    return Component(key=Key("default", name), type=type_, version="v1", metadata=metadata, scopes=scopes)


def workload(**fields):
    return Workload(
        key=RevisionKey("default", "orders", "00001"), artifact=Unbuilt(build="b"), host="command", **fields
    )


@pytest.mark.parametrize(
    ("declared", "asked"),
    [
        ([component("tick", "bindings.cron")], (Binding("tick"),)),
        ([component("tick", route="/every-minute")], (Binding("tick", "/every-minute"),)),
        ([component("in", direction="input")], (Binding("in", "", True),)),
        ([component("both", Direction="Input, Output")], (Binding("both", "", True),)),
        ([component("out", direction="output")], ()),
        ([component("state", "state.redis")], ()),
        ([component("theirs", scopes=("billing",))], ()),
        ([component("ours", scopes=("orders",))], (Binding("ours"),)),
        ([component("billing/own")], ()),
        ([component("orders/own", route="/own"), component("own")], (Binding("own", "/own"),)),
        ([component("b"), component("a")], (Binding("a"), Binding("b"))),
    ],
)
def test_only_inputs_that_the_app_may_use_are_asked_about(declared, asked):
    assert bindings(declared, APP) == asked


@pytest.mark.parametrize(
    ("fields", "listens", "credit"),
    [
        ({}, True, 32),
        ({"protocol": "grpc"}, True, 10),
        ({"protocol": "grpc", "concurrency": 3}, True, 3),
        ({"concurrency": 3}, False, 0),
    ],
)
def test_credit_is_the_apps_own_number_or_that_of_its_protocol(fields, listens, credit):
    assert descriptor(workload(**fields), listens=listens).concurrency == credit


def test_an_app_is_shown_by_what_it_takes():
    declared = AppDeclaration(
        subscriptions=(AppSubscription(pubsub="p", topic="t", path="/t"), AppSubscription(pubsub="p", topic="u")),
        bindings=("tick",),
    )

    assert handlers(workload(), declared, listens=True) == ["/t (p/t)", "/ (p/u)", "/tick (binding)"]
    assert handlers(workload(protocol="grpc"), AppDeclaration(), listens=True) == ["app over grpc"]
    assert handlers(workload(), AppDeclaration(), listens=False) == ["only calls the Dapr API: it listens nowhere"]
