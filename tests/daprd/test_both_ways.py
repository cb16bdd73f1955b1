"""One function, its YAML and its events, under a daprd and under Evoke: its handler sees the same."""

from __future__ import annotations

import json
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.daprd.function import Function, beside, write
from tests.daprd.sidecar import Bus, Daprd, subscription
from tests.platform import started, until

pytestmark = pytest.mark.platform

FUNCTION = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: recorder}}
spec:
  serving:
    handler: record
    params: {{RECORD: "{record}"}}
    triggers: {{}}
    outputs: [{{dapr: {{name: bus, topic: {sink}}}}}]
"""
OWN = {"specversion": "1.0", "id": "own", "source": "/shop", "type": "sold", "colour": "blue", "data": [4]}
SENT: tuple[tuple[Any, str, dict[str, str]], ...] = (
    ({"n": 1.50, "deep": {"x": [None, True]}}, "application/json", {"cloudevent.id": "json"}),
    (b"plain", "text/plain", {"cloudevent.id": "text", "cloudevent.subject": "s"}),
    (b"<a/>", "application/xml", {"cloudevent.id": "xml"}),
    (b"\x00\xff", "application/octet-stream", {"cloudevent.id": "bytes"}),
    (b"odd", "foo/bar", {"cloudevent.id": "odd"}),
    (OWN | {"datacontenttype": "application/json"}, "application/cloudevents+json", {}),
    ({"fail": True}, "application/json", {"cloudevent.id": "fails", "cloudevent.type": "made"}),
    ({"return": 7}, "application/json", {"cloudevent.id": "returns"}),
)


def sent(broker: str, protocol: str) -> list[tuple[Any, str, dict[str, str]]]:
    """Events that daprd itself delivers whole: over MQTT it brings nothing back that failed, and over gRPC it leaves
    data empty whose content type it does not know."""
    lost = {"fails"} if broker == "mqtt" else set()
    lost |= {"odd"} if protocol == "grpc" else set()
    return [one for one in SENT if one[2].get("cloudevent.id") not in lost]


def grouped(bus: dict[str, Any], group: str) -> dict[str, Any]:
    """The component with a consumer group of its own: both get every event."""
    metadata = [*bus["spec"]["metadata"], {"name": "consumerID", "value": group}]
    return {**bus, "spec": {**bus["spec"], "metadata": metadata}}


def project(folder: Path, resources: list[dict[str, Any]], sink: str) -> Path:
    """The same for Evoke."""
    write(folder)
    record = folder / "record"
    (folder / "function.yaml").write_text(FUNCTION.format(record=record, sink=sink))
    for number, resource in enumerate(resources):
        (folder / f"{number}.yaml").write_text(json.dumps(resource))
    return record


def told(calls: list[Any]) -> dict[str, Any]:
    """Id -> what the handler saw of it, each attempt."""
    seen: dict[str, list[Any]] = {}
    for call in calls:
        seen.setdefault(call["attributes"]["id"], []).append(call)
    return seen


@pytest.mark.parametrize("broker", ["kafka", "mqtt"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_handler_sees_the_same(
    request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack, broker: str, protocol: str
) -> None:
    bus: Bus = request.getfixturevalue(broker)
    topic, ours, theirs = (f"{name}-{protocol}" for name in ("both", "ours", "theirs"))
    component = bus([topic, ours, theirs])
    context = {"outputs": {"out": {"componentName": "bus", "componentType": "pubsub", "uri": theirs}}}
    function = Function(tmp_path / "function", protocol=protocol, context={"name": "recorder", **context})
    mine = {**subscription(topic), "scopes": ["recorder"]}
    declared = [grouped(component, f"daprd-{protocol}"), mine]
    daprd = Daprd(tmp_path / "daprd", "recorder", declared, app=function.port, protocol=protocol)
    beside(stack, function, daprd)
    reader = Function(tmp_path / "reader")
    outputs = [component, subscription(ours), subscription(theirs)]
    beside(stack, reader, Daprd(tmp_path / "reading", "reader", outputs, app=reader.port))
    folder = tmp_path / "project"
    record = project(folder, [grouped(component, f"evoke-{protocol}"), mine], ours)
    platform = stack.enter_context(started(folder))
    platform.wait_ready("recorder")

    events = sent(broker, protocol)
    attempts = len(events) + (1 if broker == "kafka" else 0)
    for body, kind, metadata in events:
        daprd.publish(topic, body, kind, **metadata)
    function.wait(attempts)

    def calls() -> list[Any]:
        return [json.loads(line) for line in record.read_text().splitlines()] if record.exists() else []

    until(lambda: len(calls()) >= attempts, what="every event under Evoke")
    assert told(calls()) == told(function.calls)
    until(lambda: len(reader.calls) == 2, what="what both returned")
    by_topic = {call["attributes"]["topic"]: call for call in reader.calls}
    assert by_topic[ours]["data"] == by_topic[theirs]["data"] == {"returned": 7}
    kept = {"type", "datacontenttype", "specversion", "pubsubname"}
    assert {n: by_topic[ours]["attributes"][n] for n in kept} == {n: by_topic[theirs]["attributes"][n] for n in kept}
