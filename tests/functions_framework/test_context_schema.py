"""FUNC_CONTEXT as OpenFunction has written it, both shapes; what /dapr/subscribe makes of it."""

from __future__ import annotations

import json

import msgspec
import pytest

from functions_framework.context_schema import FunctionContext, read
from functions_framework.declared import subscriptions

V1BETA1 = {
    "name": "on-reading",
    "version": "v2.0.0",
    "inputs": {
        "cron": {"uri": "cron", "componentName": "cron-1", "componentType": "bindings.cron"},
        "readings": {"uri": "sensors", "componentName": "bus", "componentType": "pubsub.kafka", "metadata": {"a": "b"}},
    },
    "outputs": {
        "alerts": {"uri": "alerts", "componentName": "bus", "componentType": "pubsub.kafka", "operation": ""},
    },
    "states": {"store": {"componentName": "redis", "componentType": "state.redis"}},
    "runtime": "Async",
    "port": "8080",
    "state": None,
    "prePlugins": [],
    "postPlugins": None,
    "pluginsTracing": {"enabled": True, "provider": {"name": "skywalking"}},
}
V1BETA2 = {
    "name": "on-reading",
    "version": "v2.0.0",
    "triggers": {"http": {"port": 8080}, "dapr": [{"name": "bus", "type": "pubsub.kafka", "topic": "sensors"}]},
    "outputs": {"alerts": {"componentName": "bus", "componentType": "pubsub.kafka", "topic": "alerts"}},
    "preHooks": ["a"],
    "tracing": {},
}


@pytest.mark.parametrize(
    ("variable", "document"),
    [("FUNC_CONTEXT", V1BETA1), ("FUNC_CONTEXT_V1BETA2", V1BETA2), ("FUNC_CONTEXT", V1BETA2)],
)
def test_both_shapes_name_the_same_output_and_subscription(variable, document):
    context = read({variable: json.dumps(document)})

    assert context.outputs is not None
    assert context.outputs["alerts"].destination == "alerts"
    assert [(s["pubsubname"], s["topic"]) for s in subscriptions(context)] == [("bus", "sensors")]


def test_bindings_are_told_from_topics():
    context = read({"FUNC_CONTEXT": json.dumps(V1BETA1)})

    assert context.inputs is not None
    assert [context.inputs[name].is_binding for name in ("cron", "readings")] == [True, False]


def test_no_context_is_an_empty_one_and_a_bad_one_tells_its_path():
    assert read({}) == FunctionContext()
    with pytest.raises(msgspec.ValidationError, match=r"\$\.outputs"):
        read({"FUNC_CONTEXT": '{"outputs": {"a": {"uri": 3}}}'})


def test_what_is_written_is_read_again():
    context = read({"FUNC_CONTEXT": json.dumps(V1BETA2)})

    assert read({"FUNC_CONTEXT": msgspec.json.encode(context).decode()}) == context
