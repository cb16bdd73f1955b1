"""Components: whatever stands in their metadata, an answer comes out, and what holds becomes what it is."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api import documents
from api.actions import Resource
from api.meta import Key, SecretKeyRef
from controller.readers import templates
from controller.readers.components import read_component
from controller.readers.model import ComponentModel
from proxy.components import registry
from proxy.components.declaration import rows
from tests.readers.worlds import SCOPE

NAMES = sorted({row.name for declared in registry.TYPES.values() for row in rows(declared.metadata)})
TEXTS = st.sampled_from(
    ["", "1", "-1", "true", "none", "localhost:1", "tcp://localhost:1", "@every 1s", "{uuid}", "a,b"]
)
VALUES = st.fixed_dictionaries({"value": TEXTS | st.text(max_size=8) | st.integers() | st.booleans() | st.none()})
SECRETS = st.fixed_dictionaries({"secretKeyRef": st.fixed_dictionaries({"name": st.just("vault")})})


def component(type_: str, metadata: list[dict[str, Any]], **beside: Any) -> ComponentModel:
    body = {"type": type_, "version": "v1", "metadata": metadata, **beside}
    spec = documents.decode_spec("dapr.io/v1alpha1", "Component", body)
    resource = Resource(
        api_version="dapr.io/v1alpha1", kind="Component", key=Key("team", "it"), uid="u", generation=1, spec=spec
    )
    return read_component(resource, SCOPE)


@settings(deadline=None)
@given(
    st.sampled_from(registry.known()),
    st.lists(st.tuples(st.sampled_from(NAMES), VALUES | SECRETS), max_size=6, unique_by=lambda item: item[0].lower()),
)
def test_any_metadata_is_answered(type_: str, items: list[tuple[str, dict[str, Any]]]) -> None:
    model = component(type_, [{"name": name, **value} for name, value in items])
    declared = registry.find(type_)
    assert declared is not None

    if model.problems:
        assert all(problem.code and problem.message for problem in model.problems)
        assert model.bus is None
        return
    assert (model.bus is None) is (declared.bus is None)
    if declared.source is not None:
        assert declared.source(model.component, Key("team", "f"), "subject").subject == "subject"
    assert msgspec.json.encode(model.component)


def test_settings_of_every_pubsub_type_are_not_the_types() -> None:
    model = component(
        "pubsub.kafka",
        [
            {"name": "brokers", "value": "localhost:1"},
            {"name": "AllowedTopics", "value": "a"},
            {"name": "publishingScopes", "value": "shop=a"},
            {"name": "saslPassword", "secretKeyRef": {"name": "kafka", "key": "password"}},
        ],
        scopes=["shop"],
        auth={"secretStore": "kubernetes"},
        initTimeout="3s",
        ignoreErrors=True,
    )

    assert model.problems == ()
    assert model.component.metadata["AllowedTopics"] == "a"
    assert model.component.metadata["saslPassword"] == SecretKeyRef(name="kafka", key="password")
    assert (model.component.scopes, model.component.secret_store, model.component.ignore_errors) == (
        ("shop",),
        "",
        True,
    )
    assert model.component.init_timeout.total_seconds() == 3
    assert model.bus is not None


@pytest.mark.parametrize(
    ("value", "text"),
    [("x", "x"), (3, "3"), (1.5, "1.5"), (True, "true"), (None, ""), ({"b": [1], "a": None}, '{"a":null,"b":[1]}')],
)
def test_values_become_text_as_dapr_hands_them_on(value: Any, text: str) -> None:
    assert component("state.redis", [{"name": "redisHost", "value": value}]).component.metadata["redisHost"] == text


def test_placeholders_are_stable_and_per_app() -> None:
    text = "{appID}/{namespace}/{podName}/{uuid}"
    mine, again, other = (templates.resolve(text, component=Key("team", "bus"), app_id=app) for app in "aab")
    shared = templates.resolve("{appID}/{namespace}", component=Key("team", "bus"), app_id="")

    assert mine == again != other
    assert mine.startswith("a/team.a/a/")
    assert shared == "bus/team"
    assert component(
        "pubsub.in-memory", [{"name": "allowedTopics", "value": "{namespace}"}]
    ).component.topic_prefix == ("team")
