"""Dapr's resources are read strictly: every defect at its path, nothing refused that Dapr takes."""

from __future__ import annotations

import io

import pytest

from api import support
from api.documents import read
from api.errors import InvalidInput
from api.kinds.dapr import ComponentSpec, ConfigurationSpec, ResiliencySpec, RouteSubscriptionSpec, SubscriptionSpec

COMPONENT = "apiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {name: orders.pubsub}\nspec: "
V1 = "apiVersion: dapr.io/v1alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: "
V2 = "apiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {name: s}\nspec: "
RESILIENCY = "apiVersion: dapr.io/v1alpha1\nkind: Resiliency\nmetadata: {name: r}\nspec: "
CONFIGURATION = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: "


def one(text: str) -> object:
    (document,) = read(["-"], stdin=io.BytesIO(text.encode()))
    return document.spec


def refused(text: str) -> list[tuple[str, str]]:
    with pytest.raises(InvalidInput) as raised:
        one(text)
    return [(problem.code, problem.path) for problem in raised.value.problems]


def test_both_versions_of_a_subscription() -> None:
    old = one(V1 + "{pubsubname: p, topic: a/b, route: /x, deadLetterTopic: dead}\nscopes: [shop]\n")
    new = one(V2 + "{pubsubname: p, topic: '$share/g/a/#', routes: {default: /x, rules: [{path: /y, match: 'true'}]}}")

    assert isinstance(old, RouteSubscriptionSpec)
    assert (old.route, old.scopes) == ("/x", ("shop",))
    assert isinstance(new, SubscriptionSpec)
    assert new.routes.rules[0].path == "/y"


def test_a_component_without_a_version_is_of_the_first() -> None:
    spec = one(COMPONENT + "{type: pubsub.in-memory}")

    assert isinstance(spec, ComponentSpec)
    assert spec.version == "v1"


def test_names_as_dapr_takes_them_outside_kubernetes() -> None:
    one(CONFIGURATION.replace("name: c}", "name: daprConfig}") + "{}")
    one(COMPONENT.replace("orders.pubsub", "Order_pubSub.v1") + "{type: pubsub.in-memory, version: v1}")

    assert refused(COMPONENT.replace("orders.pubsub", "a/b") + "{type: pubsub.in-memory, version: v1}") == [
        ("E112", "metadata.name")
    ]


def test_everything_that_a_resiliency_may_say() -> None:
    spec = one(
        RESILIENCY
        + """
  policies:
    timeouts: {quick: 500ms, plain: 250, DefaultTimeoutPolicy: 1m}
    retries:
      often: {policy: exponential, maxInterval: 15s, maxRetries: -1, matching: {httpStatusCodes: "429,500-599"}}
      grpc: {matching: {gRPCStatusCodes: "1-4,8"}}
    circuitBreakers: {fuse: {maxRequests: 1, interval: 8s, timeout: 45s, trip: consecutiveFailures > 8}}
  targets:
    apps: {shop: {timeout: quick, retry: often, circuitBreaker: fuse, circuitBreakerCacheSize: 100}}
    components: {store: {outbound: {retry: DaprBuiltInServiceRetries}, inbound: {timeout: quick}}}
    actors: {thing: {circuitBreakerScope: both}}
scopes: [shop]
"""
    )

    assert isinstance(spec, ResiliencySpec)
    assert spec.policies.timeouts["plain"] == 250
    assert [note.path for note in support.notes("Resiliency", spec, ())] == [
        "spec.targets.apps.shop.circuitBreakerCacheSize",
        "spec.targets.actors",
    ]


def test_a_configuration_says_what_is_not_acted_on() -> None:
    spec = one(
        CONFIGURATION
        + """
  secrets: {scopes: [{storeName: vault, defaultAccess: deny, allowedSecrets: [a]}]}
  api: {allowed: [{name: state, version: v1.0, protocol: http}], denied: [{name: publish}]}
  components: {deny: [bindings.smtp]}
  tracing: {samplingRate: "1", zipkin: {endpointAddress: "http://localhost/"}}
  features: [{name: x, enabled: true}]
"""
    )

    assert isinstance(spec, ConfigurationSpec)
    assert [note.path for note in support.notes("Configuration", spec, ())] == ["spec.tracing", "spec.features"]


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        (COMPONENT + "{version: v1}", [("E119", "spec")]),
        (COMPONENT + "{type: 'a b', version: v1}", [("E113", "spec.type")]),
        (COMPONENT + "{type: a.b, version: v1, metdata: []}", [("E110", "spec.metdata")]),
        (COMPONENT + "{type: a.b, version: v1, initTimeout: soon}", [("E114", "spec.initTimeout")]),
        (
            COMPONENT + "{type: a.b, version: v1, metadata: [{name: x, value: 1}, {name: X, value: 2}]}",
            [("E117", "spec.metadata[1]")],
        ),
        (
            COMPONENT + "{type: a.b, version: v1, metadata: [{name: x, value: 1, secretKeyRef: {name: vault}}]}",
            [("E118", "spec.metadata[0]")],
        ),
        (V1 + "{pubsubname: p, topic: a}", [("E119", "spec.route")]),
        (V1 + "{pubsubname: p, topic: a, routes: {default: /}}", [("E110", "spec.routes")]),
        (V2 + "{pubsubname: p, topic: '', routes: {default: /}}", [("E122", "spec.topic")]),
        (V2 + "{pubsubname: p, topic: a, routes: {}}", [("E119", "spec.routes")]),
        (
            V2 + "{pubsubname: p, topic: a, deadLetterTopic: a, routes: {default: /}}",
            [("E124", "spec.deadLetterTopic")],
        ),
        (RESILIENCY + "{policies: {timeouts: {a: never}}}", [("E114", "spec.policies.timeouts.a")]),
        (
            RESILIENCY + "{policies: {retries: {a: {maxRetries: -2}}}}",
            [("E113", "spec.policies.retries.a.maxRetries")],
        ),
        (
            RESILIENCY + "{policies: {retries: {a: {matching: {httpStatusCodes: all}}}}}",
            [("E113", "spec.policies.retries.a.matching")],
        ),
        (
            RESILIENCY + "{policies: {retries: {often: {}}}, targets: {apps: {x: {retry: offen}}}}",
            [("E119", "spec.targets.apps.x.retry")],
        ),
        (CONFIGURATION + "{secrets: {scopes: [{defaultAccess: deny}]}}", [("E119", "spec.secrets.scopes[0]")]),
        (CONFIGURATION + "{api: {denied: [{name: x, protocol: soap}]}}", [("E111", "spec.api.denied[0].protocol")]),
    ],
)
def test_what_does_not_hold_is_refused_at_its_path(text: str, problems: list[tuple[str, str]]) -> None:
    assert refused(text) == problems


@pytest.mark.parametrize("kind", ["HTTPEndpoint", "MCPServer", "WorkflowAccessPolicy"])
def test_kinds_that_there_are_not_are_refused_by_name(kind: str) -> None:
    with pytest.raises(InvalidInput, match=f"{kind} is not supported: "):
        one(f"apiVersion: dapr.io/v1alpha1\nkind: {kind}\nmetadata: {{name: x}}\nspec: {{}}\n")


def test_components_of_a_function_have_one_name_each() -> None:
    text = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: f}
spec:
  serving:
    triggers: {}
    pubsub: {store: {type: pubsub.redis, version: v1, metadata: [{name: a, value: b}, {name: a, value: c}]}}
    states: {store: {spec: {type: state.redis, version: v1}}}
"""
    assert refused(text) == [("E117", "spec.serving.pubsub.store.metadata[1]"), ("E117", "spec.serving.states.store")]
