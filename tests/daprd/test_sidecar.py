"""Functions of ours, unchanged, behind a real daprd: both app protocols, over Kafka and over MQTT."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.daprd.function import Function, beside
from tests.daprd.sidecar import Bus, Daprd, component, subscription
from tests.platform import until

pytestmark = pytest.mark.broker


@pytest.fixture(params=["kafka", "mqtt"])
def bus(request: pytest.FixtureRequest) -> Bus:
    found: Bus = request.getfixturevalue(request.param)
    return found


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_events_of_every_kind_of_data(tmp_path: Path, stack: ExitStack, bus: Bus, protocol: str) -> None:
    topic = f"kinds-{protocol}"
    function = Function(tmp_path / "function", protocol=protocol)
    daprd = Daprd(
        tmp_path / "daprd", "recorder", [bus([topic]), subscription(topic)], app=function.port, protocol=protocol
    )
    beside(stack, function, daprd)

    daprd.publish(topic, {"n": 1}, **{"cloudevent.type": "made", "cloudevent.id": "one"})
    daprd.publish(topic, b"two", "text/plain")
    daprd.publish(topic, b"\x00\xff", "application/octet-stream")
    own = {"specversion": "1.0", "id": "four", "source": "/shop", "type": "sold", "colour": "blue", "data": [4]}
    daprd.publish(topic, own | {"datacontenttype": "application/json"}, "application/cloudevents+json")

    calls = {json.dumps(call["data"]): call["attributes"] for call in function.wait(4)}
    assert set(calls) == {'{"n": 1}', '"two"', '{"bytes": "AP8="}', "[4]"}
    first, last = calls['{"n": 1}'], calls["[4]"]
    assert (first["id"], first["type"], first["source"], first["topic"]) == ("one", "made", "recorder", topic)
    assert (last["id"], last["source"], last["type"], last["colour"]) == ("four", "/shop", "sold", "blue")
    assert all(one["pubsubname"] == "bus" for one in calls.values())


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_what_fails_comes_again_and_what_is_rejected_goes_to_the_dead_letters(
    tmp_path: Path, stack: ExitStack, kafka: Bus, protocol: str
) -> None:
    topic, dead = f"faults-{protocol}", f"faults-{protocol}-dead"
    function = Function(tmp_path / "function", protocol=protocol)
    letters = Function(tmp_path / "letters")
    resources = [kafka([topic, dead]), subscription(topic, dead_letter=dead), retries()]
    daprd = Daprd(tmp_path / "daprd", "worker", resources, app=function.port, protocol=protocol)
    beside(stack, function, daprd)
    reader = Daprd(tmp_path / "reader", "reader", [resources[0], subscription(dead)], app=letters.port)
    beside(stack, letters, reader)

    daprd.publish(topic, {"fail": True})
    daprd.publish(topic, b"reject", "text/plain")
    daprd.publish(topic, {"last": True})

    seen = [call["data"] for call in function.wait(4)]
    assert seen == [{"fail": True}, {"fail": True}, "reject", {"last": True}]
    assert [call["data"] for call in letters.wait(1)] == ["reject"]


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_bulk_deliveries_where_they_are_declared(tmp_path: Path, stack: ExitStack, kafka: Bus, protocol: str) -> None:
    """And what a batch returns goes out in bulk."""
    topic, sink = f"bulk-{protocol}", f"bulk-{protocol}-out"
    context = {"name": "w", "outputs": {"out": {"componentName": "bus", "componentType": "pubsub", "uri": sink}}}
    function = Function(tmp_path / "function", target="gather", protocol=protocol, context=context)
    reader = Function(tmp_path / "reader")
    resource = kafka([topic, sink])
    declared = [resource, subscription(topic, bulk=True)]
    daprd = Daprd(tmp_path / "daprd", "gatherer", declared, app=function.port, protocol=protocol)
    beside(stack, function, daprd)
    other = Daprd(tmp_path / "other", "reader", [resource, subscription(sink)], app=reader.port)
    beside(stack, reader, other)

    entries = [{"entryId": str(n), "event": {"n": n}, "contentType": "application/json"} for n in range(50)]
    status, answer = daprd.request("POST", f"/v1.0-alpha1/publish/bulk/bus/{topic}", json.dumps(entries).encode())
    assert status == 204, answer
    until(lambda: sum(len(call) for call in function.calls) >= 50, what="fifty events")

    assert [event["data"]["n"] for call in function.calls for event in call] == list(range(50))
    assert max(len(call) for call in function.calls) > 1
    assert [call["data"]["returned"] for call in reader.wait(50)] == list(range(50))


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_function_subscribes_by_its_context_and_sends_what_it_returns(
    tmp_path: Path, stack: ExitStack, bus: Bus, protocol: str
) -> None:
    """FUNC_CONTEXT stands where a Function's YAML would: daprd hears of it through the app."""
    source, sink = f"in-{protocol}", f"out-{protocol}"
    context = {
        "name": "worker",
        "inputs": {"in": {"componentName": "bus", "componentType": "pubsub", "uri": source}},
        "outputs": {"out": {"componentName": "bus", "componentType": "pubsub", "uri": sink}},
    }
    resource = bus([source, sink])
    function, reader = (
        Function(tmp_path / "function", protocol=protocol, context=context),
        Function(tmp_path / "reader"),
    )
    daprd = Daprd(tmp_path / "daprd", "worker", [resource], app=function.port, protocol=protocol)
    beside(stack, function, daprd)
    other = Daprd(tmp_path / "other", "reader", [resource, subscription(sink)], app=reader.port)
    beside(stack, reader, other)

    daprd.publish(source, {"return": 7})

    [call] = reader.wait(1)
    assert (call["data"], call["attributes"]["topic"]) == ({"returned": 7}, sink)


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_an_input_binding(tmp_path: Path, stack: ExitStack, protocol: str) -> None:
    context = {"name": "w", "inputs": {"tick": {"componentName": "tick", "componentType": "bindings.cron"}}}
    function = Function(tmp_path / "function", target="bound", protocol=protocol, context=context)
    cron = component("bindings.cron", {"schedule": "@every 1s"}, name="tick")
    other = component("bindings.cron", {"schedule": "@every 1s"}, name="undeclared")
    daprd = Daprd(tmp_path / "daprd", "ticked", [cron, other], app=function.port, protocol=protocol)
    beside(stack, function, daprd)

    for seen in function.wait(2):
        assert seen is not None, "it was called as by a plain request"
        assert seen["evoke-binding"] == "tick"


def retries() -> dict[str, Any]:
    """Without a policy daprd hands the first failure to the dead letters."""
    return {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Resiliency",
        "metadata": {"name": "again"},
        "spec": {
            "policies": {"retries": {"again": {"policy": "constant", "duration": "100ms", "maxRetries": 5}}},
            "targets": {"components": {"bus": {"inbound": {"retry": "again"}}}},
        },
    }
