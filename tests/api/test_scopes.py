"""Who may use which component and which topic of it."""

from __future__ import annotations

import pytest

from api.component_scopes import find, names, permits
from api.meta import Key
from api.model import App, Component
from api.topic_scopes import denied

APP = App(key=Key("team", "orders"), id="shop", protocol="http")


def component(name: str, type_: str = "state.redis", **fields: object) -> Component:
    return Component(key=Key("team", name), type=type_, version="v1", **fields)  # type: ignore[arg-type] # of the test


@pytest.mark.parametrize(
    ("metadata", "topic", "publish", "subscribe"),
    [
        ({}, "a", True, True),
        ({"allowedTopics": "a, b"}, "a", True, True),
        ({"allowedTopics": "a,b"}, "c", False, False),
        ({"protectedTopics": "a"}, "a", False, False),
        ({"protectedTopics": "a"}, "b", True, True),
        ({"protectedTopics": "a", "publishingScopes": "shop=a"}, "a", True, False),
        ({"publishingScopes": "shop=a;other=b"}, "b", False, True),
        ({"publishingScopes": "other=b"}, "b", True, True),
        ({"publishingScopes": "shop="}, "a", False, True),
        ({"subscriptionScopes": " orders = a , b "}, "b", True, True),
        ({"SubscriptionScopes": "orders.team=a"}, "b", True, False),
        ({"allowedTopics": "a", "publishingScopes": "shop=b"}, "b", False, False),
        ({"allowedTopics": "a,b", "publishingScopes": "shop=a"}, "b", False, True),
    ],
)
def test_topics_of_an_app(metadata: dict[str, str], topic: str, publish: bool, subscribe: bool) -> None:
    assert (not denied(metadata, topic, names(APP), "publishing")) is publish
    assert (not denied(metadata, topic, names(APP), "subscription")) is subscribe


def test_a_denial_names_the_topic_and_the_setting() -> None:
    assert denied({"protectedTopics": "a"}, "a", {"shop"}, "publishing") == (
        "topic a is protected, and the component's publishingScopes do not name the app"
    )


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ((), True),
        (("shop",), True),
        (("orders",), True),
        (("orders-team",), True),
        (("orders.team",), True),
        (("other", "Shop"), False),
    ],
)
def test_scopes_of_a_component(scopes: tuple[str, ...], may: bool) -> None:
    assert permits(component("store", scopes=scopes), APP) is may


def test_a_component_of_another_function_or_namespace_is_nobody_elses() -> None:
    assert permits(component("orders/store"), APP)
    assert not permits(component("other/store"), APP)
    assert not permits(Component(key=Key("else", "store"), type="state.redis", version="v1"), APP)


def test_a_configuration_denies_types() -> None:
    denying = App(key=APP.key, id="shop", denied_components=("bindings.http/v1", "state.redis"))

    assert not permits(component("store"), denying)
    assert not permits(component("call", "bindings.http"), denying)
    assert permits(component("call", "bindings.kafka"), denying)


def test_an_apps_own_component_comes_first() -> None:
    known = [
        component("store"),
        component("orders/store"),
        component("other/store"),
        component("closed", scopes=("x",)),
    ]

    assert find(known, APP, "store") == known[1]
    assert find(known[:1], APP, "store", "state") == known[0]
    assert find(known, APP, "store", "pubsub") is None
    assert find(known, APP, "closed") is None
