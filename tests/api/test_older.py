"""v1beta1 -> v1beta2: everything finds its place or is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from api import documents, older
from api.errors import InvalidInput
from api.tree import text_of

ASYNC = """\
apiVersion: core.openfunction.io/v1beta1
kind: Function
metadata:
  name: autoscaling
  annotations:
    plugins: |
      pre: [a, b]
      post: [b]
    plugins.tracing: |
      enabled: true
      provider: {name: skywalking, oapServer: "localhost:0"}
spec:
  version: v2.0.0
  image: example/autoscaling:v1
  port: 8080
  build:
    builder: example/builder:v2
    params: {A: b}
    srcRepo: {url: "https://git.example.com/samples.git"}
  serving:
    runtime: async
    inputs:
    - {name: greeting, component: target-topic, topic: sample, params: {k: v}}
    outputs:
    - {name: sample, component: kafka-server, operation: create, params: {key: x}}
    bindings:
      kafka-server: {type: bindings.kafka, version: v1, metadata: []}
    pubsub:
      target-topic: {type: pubsub.kafka, version: v1, metadata: []}
    states:
      store: {type: state.redis, version: v1, metadata: []}
    scaleOptions:
      minReplicas: 0
      keda:
        scaledObject: {workloadType: StatefulSet, pollingInterval: 15, minReplicaCount: 1, maxReplicaCount: 7}
    triggers:
    - {type: kafka, metadata: {topic: sample}, targetKind: object}
    params: {A: b}
"""
HTTP = """\
apiVersion: core.openfunction.io/v1beta1
kind: Function
metadata: {name: hello}
spec:
  image: example/hello:v1
  port: 8081
  route: {hostnames: [hello.example.com]}
  serving: {runtime: knative, scaleOptions: {knative: {"autoscaling.knative.dev/target": "3"}}}
"""


def read(folder: Path, text: str) -> documents.Document:
    file = folder / "function.yaml"
    file.write_text(text)
    return documents.read([file])[0]


def test_an_asynchronous_function(tmp_path: Path) -> None:
    found = read(tmp_path, ASYNC)
    serving: dict[str, Any] = found.resource["spec"]["serving"]

    assert serving["triggers"] == {
        "dapr": [{"name": "target-topic", "type": "pubsub.kafka", "topic": "sample", "inputName": "greeting"}]
    }
    assert serving["outputs"][0]["dapr"] == {
        "name": "kafka-server",
        "type": "bindings.kafka",
        "operation": "create",
        "outputName": "sample",
        "metadata": {"key": "x"},
    }
    assert serving["scaleOptions"] == {
        "minReplicas": 0,
        "maxReplicas": 7,
        "keda": {
            "scaledObject": {"pollingInterval": 15},
            "triggers": [{"type": "kafka", "metadata": {"topic": "sample"}}],
        },
    }
    assert serving["workloadType"] == "StatefulSet"
    assert serving["hooks"] == {"pre": ["a", "b"], "post": ["b"]}
    assert serving["tracing"]["provider"]["name"] == "skywalking"
    assert serving["states"]["store"]["spec"]["type"] == "state.redis"
    assert found.resource["spec"]["build"]["shipwright"]["params"] == [{"name": "A", "value": "b"}]
    assert {(note.path, note.line) for note in found.notes} == {
        ("apiVersion", 1),
        ("spec.port", 15),
        ("spec.serving.inputs[0].metadata", 23),
        ("spec.serving.scaleOptions.keda.scaledObject.minReplicaCount", 35),
    }


def test_a_synchronous_function(tmp_path: Path) -> None:
    found = read(tmp_path, HTTP)

    assert found.resource["spec"]["serving"]["triggers"] == {
        "http": {"port": 8081, "route": {"hostnames": ["hello.example.com"]}}
    }
    assert [note.path for note in found.notes] == ["apiVersion"]


def test_nothing_is_lost_silently() -> None:
    spec = {"serving": {"runtime": "knative", "inputs": [{"name": "a", "component": "b"}], "novel": 1}, "other": 2}
    found = older.convert({"apiVersion": older.OLD, "kind": "Function", "metadata": {"name": "a"}, "spec": spec})

    assert [text_of(fault.path) for fault in found.lost] == ["spec.serving.inputs"]
    assert found.resource is not None
    assert (found.resource["spec"]["serving"]["novel"], found.resource["spec"]["other"]) == (1, 2)


def test_what_cannot_be_converted_says_why(tmp_path: Path) -> None:
    for text, path in (
        (HTTP.replace("knative,", "lambda,"), "spec.serving.runtime"),
        (HTTP.replace("v1beta1", "v1alpha2"), "apiVersion"),
    ):
        with pytest.raises(InvalidInput) as caught:
            read(tmp_path, text)
        assert [problem.path for problem in caught.value.problems] == [path]


def test_over_the_api_it_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"E115 apiVersion: .* run `evoke convert`"):
        documents.decode({"apiVersion": older.OLD, "kind": "Function", "metadata": {"name": "a"}, "spec": {}})
