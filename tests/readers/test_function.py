"""Function -> FunctionModel."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from api.meta import Key, SecretKeyRef
from api.model import Directory, Env, Git, Image, Match, Resources, SourceImage, Unbuilt, digest
from api.scaling import Scaler
from controller.readers.model import FunctionModel, Scope, TrafficShare, accepted_reason
from tests.readers.worlds import FUNCTION, SCOPE, function, indented, resource

HTTP = "serving: {triggers: {http: {}}}"


def serving(text: str, triggers: str = "{http: {}}") -> FunctionModel:
    return function(f"serving:\n  triggers: {triggers}\n{indented(text)}")


def context(model: FunctionModel) -> Any:
    return json.loads(model.workload.context)


def test_fills_every_default() -> None:
    model = function(HTTP)

    assert model.problems == ()
    assert model.notes == ()
    assert model.history_limit == 10
    assert model.traffic == ()
    assert model.workload.target == ""
    assert model.workload.port == 8080
    assert model.workload.start_timeout == timedelta(minutes=1)
    assert model.workload.grace == timedelta(seconds=30)
    assert model.workload.resources == Resources()
    assert isinstance(model.workload.artifact, Unbuilt)
    assert (model.scale.min, model.scale.max, model.scale.cooldown) == (0, 10, timedelta(minutes=5))
    assert model.delivery.max_attempts == 10
    assert model.route is not None
    assert (model.route.key, model.route.hosts, model.route.matches) == (Key("team", "hello"), (), ())


def test_tells_the_framework_what_it_is() -> None:
    assert context(function(HTTP)) == {
        "name": "hello",
        "namespace": "team",
        "version": "latest",
        "runtime": "Knative",
        "port": "8080",
        "triggers": {"http": {"port": 8080}},
    }


def test_tells_the_framework_inputs_outputs_and_triggers() -> None:
    model = serving(
        "outputs: [{dapr: {name: default, topic: alerts, metadata: {b: x, a: z}}}]",
        "{dapr: [{name: default, topic: readings}]}",
    )

    assert context(model) == {
        "name": "hello",
        "namespace": "team",
        "version": "latest",
        "runtime": "Async",
        "port": "8080",
        "triggers": {"dapr": [{"name": "default", "type": "pubsub", "topic": "readings"}]},
        "inputs": {"default": {"uri": "readings", "componentName": "default", "componentType": "pubsub"}},
        "outputs": {
            "default": {
                "uri": "alerts",
                "componentName": "default",
                "componentType": "pubsub",
                "metadata": {"a": "z", "b": "x"},
            }
        },
    }


def test_a_dapr_trigger_on_a_bus_is_a_subscription() -> None:
    model = serving("delivery: {retry: 3}", "{dapr: [{name: default, topic: readings}, {name: shared, topic: a.b}]}")
    first, second = model.subscriptions

    assert (first.bus, first.subject, first.group) == (
        Key("team", "default"), "readings", "function.hello.default.readings",
    )  # fmt: skip
    assert first.trigger == "hello"
    assert first.delivery.max_attempts == 3
    assert second.bus == Key("team", "shared")
    assert second.key.name.startswith("function.hello.shared.a-b-")
    assert model.route is None


def test_a_function_over_http_takes_asynchronous_calls() -> None:
    (calls,) = function(HTTP).subscriptions

    assert (calls.subject, calls.path, calls.start) == ("evoke.async.team.hello", "/__evoke/invocation", "all")
    assert function("serving: {triggers: {}}").subscriptions == ()


def test_keys_of_subscriptions_survive_edits_of_everything_else() -> None:
    dapr = "{dapr: [{name: default, topic: readings}]}"
    before = serving("timeout: 10s", dapr).subscriptions[0]
    after = serving("timeout: 20s\ndelivery: {retry: 1, ordering: none}", dapr).subscriptions[0]

    assert (before.key, before.group) == (after.key, after.group)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("{}", Directory(path="FOLDER")),
        ("{url: code}", Directory(path="FOLDER/code")),
        ("{url: /srv/code, sourceSubPath: a}", Directory(path="/srv/code/a")),
        ("{url: ../x}", Directory(path="FOLDER/../x")),
        (
            "{url: https://example.com/r.git, revision: v1, sourceSubPath: s, credentials: {name: c}}",
            Git(url="https://example.com/r.git", revision="v1", subpath="s", credentials="c"),
        ),
        ("{url: git@example.com:r.git}", Git(url="git@example.com:r.git")),
        ("{bundleContainer: {image: i}, sourceSubPath: /s}", SourceImage(reference="i", subpath="/s")),
    ],
)
def test_finds_the_source(text: str, source: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.chdir(tmp_path)
    model = function(f"build: {{srcRepo: {text}}}\n{HTTP}")
    if isinstance(source, Directory):
        path = source.path.replace("FOLDER/..", str(tmp_path.parent)).replace("FOLDER", str(tmp_path))
        source = Directory(path=path)

    assert model.build is not None
    assert model.build.source == source
    assert bool(model.problems) == (not isinstance(source, Directory))


def test_an_image_needs_a_substrate_that_runs_images() -> None:
    text = "image: registry.example.com/a:1\nimageCredentials: {name: pull}\n" + HTTP
    here, there = function(text), function(text, msgspec.structs.replace(SCOPE, capabilities=frozenset({"images"})))

    assert there.workload.artifact == Image(reference="registry.example.com/a:1", pull_secret="pull")
    assert there.build is None
    assert [accepted_reason(problem) for problem in here.problems] == ["NotYet"]
    assert there.problems == ()


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("serving: {handler: 'main:a', triggers: {}}", "main:a"),
        ("build: {env: {FUNC_NAME: b}}\nserving: {triggers: {}}", "b"),
        ("serving: {params: {FUNCTION_TARGET: c}, triggers: {}}", "c"),
        ("build: {env: {GOOGLE_FUNCTION_TARGET: d}}\nserving: {handler: e, triggers: {}}", "e"),
    ],
)
def test_finds_the_handler(text: str, target: str) -> None:
    assert function(text).workload.target == target


def test_environment_by_name_and_secrets_by_reference() -> None:
    model = serving(
        "params: {B: b, A: a}\n"
        "paramsFrom: {C: {secretRef: {name: s, key: k}}}\n"
        "template:\n"
        "  containers:\n"
        "  - name: function\n"
        "    env: [{name: A, value: old}, {name: D, valueFrom: {secretKeyRef: {name: s, key: d}}}, {name: E}]\n"
        "  - {name: side, env: [{name: Z, value: z}]}"
    )

    assert model.workload.env == (
        Env("A", "a"),
        Env("B", "b"),
        Env("C", SecretKeyRef(name="s", key="k")),
        Env("D", SecretKeyRef(name="s", key="d")),
        Env("E", ""),
    )
    assert {(note.code, note.path) for note in model.notes} == {
        ("NotHere", f"spec.serving.template.containers[1].{field}") for field in ("name", "env[0].name", "env[0].value")
    }


def test_limits_from_serving_over_those_of_the_template() -> None:
    model = serving(
        "resources: {limits: {cpu: 250m, pids: 32}}\n"
        "template: {containers: [{name: function, resources: {limits: {cpu: 2, memory: 1Gi}}}]}"
    )

    assert model.workload.resources == Resources(cpu_milli=250, memory=1 << 30, pids=32)


def test_scale_in_openfunctions_three_dialects() -> None:
    model = serving(
        """
scaleOptions:
  minReplicas: 1
  maxReplicas: 4
  knative: {container-concurrency: "7", autoscaling.knative.dev/max-scale: "3"}
  keda:
    scaledObject:
      pollingInterval: 15
      cooldownPeriod: 60
      advanced: {horizontalPodAutoscalerConfig: {behavior: {scaleDown: {stabilizationWindowSeconds: 45}}}}
      fallback: {failureThreshold: 3, replicas: 2}
    triggers: [{type: kafka, metadata: {topic: t, lagThreshold: "20"}, authenticationRef: {name: auth}}]
"""
    )

    assert (model.scale.min, model.scale.max, model.scale.initial) == (1, 4, 1)
    assert model.scale.cooldown == timedelta(seconds=60)
    assert model.scale.behavior == {"scaleDown": {"stabilizationWindowSeconds": 45}}
    assert model.scale.fallback == {"failureThreshold": 3, "replicas": 2}
    assert model.scale.scalers == (
        Scaler(name="kafka-0", kind="kafka", metadata={"lagThreshold": "20", "topic": "t"}, auth="auth"),
    )
    assert model.workload.concurrency == 7


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("{}", (0, 10)),
        ("{maxReplicas: 1}", (0, 1)),
        ('{knative: {min-scale: "2", autoscaling.knative.dev/maxScale: "20"}}', (2, 20)),
        ('{maxReplicas: 3, knative: {max-scale: "20"}}', (0, 3)),
        ('{knative: {min-scale: "12"}}', (12, 12)),
    ],
)
def test_bounds(text: str, bounds: tuple[int, int]) -> None:
    scale = serving(f"scaleOptions: {text}").scale

    assert (scale.min, scale.max) == bounds


def test_routes_by_host_and_path() -> None:
    route = (
        "{hostnames: [b.example.com, a.example.com], rules: [{matches: ["
        "{path: {value: /x}, method: GET}, {path: {value: /x}, method: DELETE}, {path: {type: Exact, value: /y}}, "
        "{path: {type: Exact, value: /y}, method: PUT}]}]}"
    )
    model = function(f"serving: {{triggers: {{http: {{port: 9000, route: {route}}}}}}}")

    assert model.workload.port == 9000
    assert model.route is not None
    assert model.route.hosts == ("a.example.com", "b.example.com")
    assert model.route.matches == (Match(path="/x", methods=("DELETE", "GET")), Match(path="/y", kind="exact"))


def test_traffic_names_the_latest_by_nothing() -> None:
    model = serving("traffic: [{weight: 90}, {revision: '00003', weight: 10, tag: old}]")

    assert model.traffic == (TrafficShare(revision="", weight=90), TrafficShare(revision="00003", weight=10, tag="old"))


def test_delivery_in_full() -> None:
    policy = serving(
        "delivery: {retry: 4, backoff: {initial: 50ms, factor: 3, cap: 1s, jitter: 0}, timeout: 5s, maxAge: 1h,"
        " ordering: none, deadLetter: dead}"
    ).delivery

    assert (policy.max_attempts, policy.timeout, policy.max_age) == (4, timedelta(seconds=5), timedelta(hours=1))
    assert (policy.ordering, policy.dead_letter) == ("none", "dead")
    assert [policy.backoff.delay(attempt, 1.0).total_seconds() for attempt in (1, 2, 3, 4)] == [0.05, 0.15, 0.45, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        "serving: {triggers: {}, workloadType: Job}",
        "build: {srcRepo: {url: code}}",
        "workloadRuntime: WasmEdge\nserving: {triggers: {http: {}}}",
        "build: {dockerfile: Dockerfile}\nserving: {triggers: {http: {}}}",
        "build: {builder: 'openfunction/builder-go:latest'}\nserving: {triggers: {http: {}}}",
    ],
)
def test_what_cannot_run_says_so(text: str) -> None:
    problems = function(text).problems

    assert problems
    assert {accepted_reason(problem) for problem in problems} == {"NotYet"}


def test_builders_for_python_are_bundles() -> None:
    model = function("build: {builder: 'openfunction/gcp-builder:v1', env: {FUNC_NAME: f}}\n" + HTTP)

    assert model.build is not None
    assert model.build.strategy == "bundle"
    assert model.problems == ()
    assert [note.path for note in model.notes] == ["spec.build.builder"]


def test_what_is_not_honoured_is_noted_once_per_field() -> None:
    model = serving("hooks: {pre: [a, b]}\ntemplate: {nodeSelector: {a: b, c: d}}\ntracing: {enabled: true}")

    assert [(note.code, note.path) for note in model.notes] == [
        ("NotHere", "spec.serving.template.nodeSelector"),
        ("NotYet", "spec.serving.hooks.pre"),
        ("NotYet", "spec.serving.tracing.enabled"),
    ]


def test_keys_of_a_map_may_be_honoured_apart() -> None:
    model = serving("resources: {limits: {cpu: 2, memory: 1Gi, pids: 9}}")

    assert [note.path for note in model.notes] == ["spec.serving.resources.limits"]
    assert serving("resources: {limits: {memory: 1Gi}}").notes == ()


def test_the_same_yaml_reads_the_same() -> None:
    text = "serving: {triggers: {http: {}}, params: {B: b, A: a}, labels: {y1: b, x1: a}}"
    other = "serving: {labels: {x1: a, y1: b}, params: {A: a, B: b}, triggers: {http: {}}}"

    assert digest(function(text).workload) == digest(function(other).workload)
    assert function(text).workload.revision_digest() == function(other).workload.revision_digest()


def test_a_revision_is_made_by_code_and_environment_not_by_pace() -> None:
    one = serving("params: {A: a}").workload.revision_digest()
    paced = serving("params: {A: a}\nscaleOptions: {maxReplicas: 3}\ndelivery: {retry: 2}\nlabels: {a: b}")

    assert paced.workload.revision_digest() == one
    assert serving("params: {A: b}").workload.revision_digest() != one


def test_the_digest_of_a_known_function_stays() -> None:
    """A change here makes a new revision of every function at the next upgrade: it must be meant."""
    workload = msgspec.structs.replace(function(HTTP).workload, artifact=Unbuilt(build=""))

    assert workload.revision_digest() == "sha256:d104b98730e322ece66028a001fd09ee296c5bd623be69251135aa06aacb1eb7"


def test_reading_never_raises_without_context() -> None:
    bare = read_bare()

    assert bare.build is not None


def read_bare() -> FunctionModel:
    from controller.readers.function import read_function

    given = resource(FUNCTION + indented(HTTP))
    return read_function(msgspec.structs.replace(given, annotations={}), Scope(namespace="team"))
