"""Functions that are Dapr apps: programs in any language, and what their annotations say."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import msgspec
import pytest

from api.meta import Key, SecretKeyRef
from api.model import App, AppHealth, Env
from controller.readers.model import FunctionModel
from tests.readers.worlds import SCOPE, function

COMMAND = "template: {containers: [{name: function, command: [node], args: [app.js, --fast]}]}"


def app(annotations: str = "", more: str = "", triggers: str = "{}") -> FunctionModel:
    lines = [f"serving:\n  triggers: {triggers}", f"  {COMMAND}", *(f"  {line}" for line in more.splitlines())]
    if annotations:
        lines.append(f"  annotations: {{{annotations}}}")
    return function("\n".join(lines))


def test_a_command_makes_a_program_of_it() -> None:
    model = app()

    assert model.problems == ()
    assert model.notes == ()
    assert model.app == App(key=Key("team", "hello"), id="hello", protocol="http")
    workload = model.workload
    assert (workload.host, workload.command, workload.port, workload.protocol) == (
        "command", ("node", "app.js", "--fast"), 0, "http",
    )  # fmt: skip
    assert workload.health is None
    assert model.route is not None
    assert model.route.internal
    assert model.subscriptions == ()


def test_every_annotation_has_its_place() -> None:
    model = app(
        "dapr.io/enabled: 'true', dapr.io/app-id: shop.Orders_1, dapr.io/app-port: '3000', dapr.io/app-protocol: grpc,"
        " dapr.io/app-max-concurrency: '7', dapr.io/enable-app-health-check: 'true',"
        " dapr.io/app-health-check-path: alive, dapr.io/app-health-probe-interval: '3',"
        " dapr.io/app-health-probe-timeout: '200', dapr.io/app-health-threshold: '2',"
        " dapr.io/app-token-secret: token, dapr.io/config: strict, dapr.io/max-body-size: 16Mi"
    )

    assert model.problems == ()
    assert model.app == App(
        key=Key("team", "hello"),
        id="shop.Orders_1",
        protocol="grpc",
        token=SecretKeyRef(name="token", key="token"),
        max_body=16 << 20,
    )
    assert model.configuration == "strict"
    workload = model.workload
    assert (workload.port, workload.protocol, workload.concurrency) == (3000, "grpc", 7)
    assert workload.health == AppHealth(
        path="/alive", every=timedelta(seconds=3), timeout=timedelta(milliseconds=200), threshold=2
    )
    assert workload.env == (Env("APP_API_TOKEN", SecretKeyRef(name="token", key="token")),)


def test_a_program_that_names_its_port_has_one_replica_where_ports_are_shared() -> None:
    model = app("dapr.io/app-port: '3000'", "scaleOptions: {minReplicas: 2, maxReplicas: 5}")
    elsewhere = msgspec.structs.replace(SCOPE, capabilities=frozenset({"images"}))
    text = f"serving:\n  triggers: {{}}\n  {COMMAND}\n  annotations: {{dapr.io/app-port: '3000'}}"

    assert (model.scale.min, model.scale.initial, model.scale.max) == (1, 1, 1)
    assert [(note.code, note.path) for note in model.notes] == [
        ("NotHere", "spec.serving.annotations.dapr.io/app-port")
    ]
    assert "listen on $APP_PORT to have more" in model.notes[0].message
    assert function(text, elsewhere).scale.max == 10


def test_an_http_trigger_makes_it_public_and_may_name_the_port() -> None:
    model = app("", "", "{http: {port: 3000}}")

    assert model.route is not None
    assert (model.route.internal, model.route.queued) == (False, False)
    assert model.workload.port == 3000
    assert model.subscriptions == ()
    assert model.problems == ()
    assert [problem.code for problem in app("dapr.io/app-protocol: grpc", "", "{http: {}}").problems] == ["E118"]


def test_handlers_of_ours_have_an_id_and_keep_their_protocol() -> None:
    model = function(
        "serving:\n  triggers: {}\n  annotations:"
        " {dapr.io/app-id: shop, dapr.io/app-protocol: https, dapr.io/log-level: info}"
    )

    assert model.problems == ()
    assert (model.app.id, model.app.protocol, model.app.token) == ("shop", "evoke", "")
    assert (model.workload.host, model.workload.command, model.workload.port) == ("python", (), 8080)
    assert [(note.code, note.path) for note in model.notes] == [
        ("NotHere", "spec.serving.annotations.dapr.io/log-level")
    ]


@pytest.mark.parametrize(
    ("annotation", "part"),
    [
        ("dapr.io/app-protocol: https", "https is not supported: proxy and app share a machine, use http"),
        ("dapr.io/app-protocol: grpcs", "use grpc"),
        ("dapr.io/app-protocol: h2c", "use http"),
        ("dapr.io/app-protocol: soap", "`soap` is no protocol"),
        ("dapr.io/app-port: '0'", "expected a number from 1 to 65535"),
        ("dapr.io/app-port: http", "expected a number"),
        ("dapr.io/app-id: 'a b'", "is no app id"),
        ("dapr.io/app-id: ''", "is no app id"),
        ("dapr.io/app-max-concurrency: many", "expected a number"),
        ("dapr.io/enable-app-health-check: maybe", "expected true or false"),
        ("dapr.io/app-health-check-path: 'a b'", "a path has no blanks"),
        ("dapr.io/app-health-probe-timeout: '9000'", "may not take longer"),
        ("dapr.io/app-token-secret: A_B", "expected the name of a Secret"),
        ("dapr.io/max-body-size: lots", "is no amount"),
        ("dapr.io/max-body-size: 2Gi", "at most 1Gi"),
        ("dapr.io/http-max-request-size: '0'", "expected a number from 1 to 1024"),
    ],
)
def test_what_does_not_hold_is_refused_at_its_annotation(annotation: str, part: str) -> None:
    (problem,) = app(annotation).problems

    assert (problem.code, problem.path) == ("E113", f"spec.serving.annotations.{annotation.partition(':')[0]}")
    assert part in problem.message


def test_what_is_about_a_sidecar_is_noted() -> None:
    notes = app("dapr.io/sidecar-cpu-limit: '1', dapr.io/api-token-secret: x, dapr.io/app-prot: http, other: x").notes

    assert [note.path.rpartition("/")[2] for note in notes] == ["api-token-secret", "app-prot", "sidecar-cpu-limit"]
    assert "did you mean `app-port`" in notes[1].message


def test_components_of_its_own() -> None:
    model = app(
        "",
        """\
pubsub: {mq: {type: pubsub.kafka, version: v1, metadata: [{name: brokers, value: "localhost:9092"}]}}
bindings: {tick: {type: bindings.cron, version: v1, metadata: [{name: schedule, value: "@every {appID}s"}]}}
states: {cart: {spec: {type: state.in-memory, version: v1}}, elsewhere: }
""",
        "{dapr: [{name: mq, topic: a/+}, {name: tick}], inputs: [{dapr: {name: mq, topic: b}}, {dapr: {name: cart}}]}",
    )

    assert [(one.component.key.name, one.component.type) for one in model.components] == [
        ("hello/mq", "pubsub.kafka"), ("hello/tick", "bindings.cron"), ("hello/cart", "state.in-memory"),
    ]  # fmt: skip
    assert [(one.component, one.topic) for one in model.triggers] == [("mq", "a/+"), ("tick", ""), ("mq", "b")]
    assert [(problem.code, problem.path) for problem in model.problems] == [
        ("E113", "spec.serving.bindings.tick.metadata[schedule]")
    ]
    context: dict[str, Any] = json.loads(model.workload.context)
    assert context["inputs"]["tick"]["componentType"] == "bindings.cron"
    assert context["states"]["cart"] == {"componentName": "cart", "componentType": "state.in-memory"}
