"""What Dapr apps subscribe to: components, precedence, scopes, groups, policies, bindings, streams, and what is said of
all that in conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.actions import Observed, Plan, Publish, Resource
from api.errors import Problem
from api.meta import Key, RevisionKey, SecretKeyRef
from api.model import AppDeclaration, AppSubscription, Rule, Snapshot, Subscription
from controller.plan import SOON, plan
from tests.controller import worlds
from tests.controller.worlds import resource

APP = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: shop}
spec:
  build: {srcRepo: {url: /src/f}}
  serving:
    triggers: {}
    annotations: {dapr.io/app-id: orders}
    template: {containers: [{name: function, command: [python3, app.py]}]}
"""
OTHER = APP.replace("name: shop", "name: stock").replace("dapr.io/app-id: orders", "dapr.io/app-id: stock")
OURS = """
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: ours}
spec:
  build: {srcRepo: {url: /src/f}}
  serving: {triggers: {dapr: [{name: bus, topic: a}, {name: tick}]}}
"""
KAFKA = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: bus}
spec:
  type: pubsub.kafka
  version: v1
  metadata: [{name: brokers, value: "localhost:9092"}, {name: authType, value: none}]
"""
TICK = """
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: tick}
spec: {type: bindings.cron, version: v1, metadata: [{name: schedule, value: "@every 1s"}]}
"""
SUBSCRIPTION = """
apiVersion: dapr.io/v2alpha1
kind: Subscription
metadata: {name: all}
spec: {pubsubname: bus, topic: a, routes: {default: /declared}}
"""
RESILIENCY = """
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: patience}
spec:
  policies:
    timeouts: {short: 3s}
    retries: {few: {duration: 2s, maxRetries: 4}, DefaultRetryPolicy: {policy: exponential, maxRetries: 1}}
    circuitBreakers: {fuse: {trip: consecutiveFailures > 2}}
  targets:
    components: {bus: {inbound: {timeout: short, retry: few}, outbound: {retry: few, circuitBreaker: fuse}}}
    apps: {stock: {timeout: short}}
"""
FIRST = RevisionKey("default", "shop", "00001")


def scoped(text: str, *scopes: str) -> str:
    return f"{text}\nscopes: [{', '.join(scopes)}]\n"


def deployed(resources: list[Resource], **said: AppDeclaration) -> Observed:
    """Everything built and checked; the app of each function said what stands under its name."""
    seen = worlds.observed()
    for _ in range(3):
        made = plan(worlds.world(resources, seen))
        seen = worlds.check(worlds.finish_builds(worlds.apply(made.actions, seen)))
    told = tuple(msgspec.structs.replace(one, declared=said.get(one.key.function)) for one in seen.revisions)
    return msgspec.structs.replace(seen, revisions=told, snapshots={})


def planned(texts: list[str], **said: AppDeclaration) -> Plan:
    resources = [resource(text) for text in texts]
    return plan(worlds.world(resources, deployed(resources, **said)))


def published(made: Plan) -> Snapshot:
    (found,) = [
        one.snapshot for one in made.actions if isinstance(one, Publish) and one.snapshot.namespace == "default"
    ]
    return found


def subscriptions(made: Plan) -> dict[str, Subscription]:
    return {one.key.name: one for one in published(made).subscriptions}


def condition(made: Plan, kind: str, name: str, type_: str) -> tuple[str, str, str]:
    (status,) = [one for one in made.statuses if (one.kind, one.key.name) == (kind, name)]
    (found,) = [one for one in status.conditions if one.type == type_]
    return found.status, found.reason, found.message


def declared(*asked: AppSubscription, bindings: tuple[str, ...] = ()) -> AppDeclaration:
    return AppDeclaration(subscriptions=asked, bindings=bindings)


def test_an_app_with_a_component_and_a_subscription() -> None:
    made = planned([APP, KAFKA, SUBSCRIPTION])
    (one,) = subscriptions(made).values()
    snapshot = published(made)

    assert (one.key.name, one.bus, one.subject, one.group) == (
        "function.shop.bus.a", Key("default", "bus"), "a", "orders",
    )  # fmt: skip
    assert (one.path, one.trigger, one.form, one.unmatched) == ("/declared", "shop", "event", False)
    assert [backend.revision for backend in one.backends] == [FIRST]
    assert [(bus.key.name, bus.kind) for bus in snapshot.buses] == [("bus", "kafka"), ("default", "nats")]
    assert [component.key.name for component in snapshot.components] == ["bus"]
    assert [(app.key.name, app.id, app.protocol) for app in snapshot.apps] == [("shop", "orders", "http")]
    assert [(route.key.name, route.internal) for route in snapshot.routes] == [("shop", True)]
    assert condition(made, "Subscription", "all", "Accepted")[:2] == ("True", "Accepted")
    assert condition(made, "Subscription", "all", "Subscribed")[:2] == ("Unknown", "Unassigned")
    assert condition(made, "Component", "bus", "Connected")[:2] == ("Unknown", "Unassigned")
    assert condition(made, "Function", "shop", "Routed")[:2] == ("True", "NotExposed")


def test_what_the_running_app_declares_takes_the_place_of_a_subscription() -> None:
    asked = AppSubscription(
        pubsub="bus",
        topic="a",
        rules=(Rule(match='event.type == "x"', path="x"),),
        metadata={"rawPayload": "true"},
        dead_letter="dead",
        bulk=50,
        bulk_wait=timedelta(milliseconds=20),
    )
    made = planned([APP, KAFKA, SUBSCRIPTION], shop=declared(asked))
    (one,) = subscriptions(made).values()

    assert one.key.name == "function.shop.bus.a"
    assert (one.rules, one.unmatched, one.form) == ((Rule(match='event.type == "x"', path="/x"),), True, "raw")
    assert (one.delivery.dead_letter, one.delivery.max_attempts) == ("dead", 10)
    assert (one.bulk, one.bulk_subscribe, one.bulk_wait) == (50, True, timedelta(milliseconds=20))
    assert condition(made, "Subscription", "all", "Subscribed")[:2] == ("True", "NothingToSubscribe")


@pytest.mark.parametrize(
    ("metadata", "form"),
    [({"rawpayload": "1"}, "raw"), ({"rawPayload": "True"}, "raw"), ({"rawPayload": "false"}, "event"), ({}, "event")],
)
def test_raw_payloads_are_asked_for_in_any_case(metadata: dict[str, str], form: str) -> None:
    asked = AppSubscription(pubsub="bus", topic="a", path="/x", metadata=metadata)

    assert subscriptions(planned([APP, KAFKA], shop=declared(asked)))["function.shop.bus.a"].form == form


def test_the_first_subscription_by_name_wins_and_the_other_says_so() -> None:
    second = SUBSCRIPTION.replace("name: all", "name: zebra").replace("/declared", "/second")
    made = planned([APP, KAFKA, second, SUBSCRIPTION])

    assert [one.path for one in subscriptions(made).values()] == ["/declared"]
    assert condition(made, "Subscription", "zebra", "Accepted") == (
        "False", "Conflict", "spec.topic: app orders is subscribed to topic a of bus by Subscription all",
    )  # fmt: skip


def test_scopes_say_whom_a_subscription_is_for() -> None:
    everybody = planned([APP, OTHER, OURS, KAFKA, SUBSCRIPTION])
    assert {name for name, one in subscriptions(everybody).items() if one.path == "/declared"} == {
        "function.shop.bus.a", "function.stock.bus.a",
    }  # fmt: skip

    ours = planned(
        [APP, OTHER, OURS, KAFKA, scoped(SUBSCRIPTION, "ours-default", "stock").replace("topic: a", "topic: b")]
    )
    assert {name for name, one in subscriptions(ours).items() if one.path == "/declared"} == {
        "function.ours.bus.b", "function.stock.bus.b",
    }  # fmt: skip


def test_a_rule_that_cannot_be_compiled_is_told() -> None:
    text = SUBSCRIPTION.replace("default: /declared", "default: /declared, rules: [{match: 'event.type ==', path: /x}]")
    status, reason, message = condition(planned([APP, KAFKA, text]), "Subscription", "all", "Accepted")

    assert (status, reason) == ("False", "Invalid")
    assert message.startswith("spec.routes.rules[0].match: ")


def test_a_topic_is_not_its_own_dead_letter_topic() -> None:
    asked = AppSubscription(pubsub="bus", topic="a", path="/x", dead_letter="a")
    made = planned([APP, KAFKA], shop=declared(asked))

    assert subscriptions(made)["function.shop.bus.a"].delivery.dead_letter is None
    assert condition(made, "Function", "shop", "Subscribed")[1] == "TopicDenied"


def test_an_app_that_may_not_use_the_component_is_passed_over() -> None:
    made = planned([APP, OTHER, scoped(KAFKA, "stock"), SUBSCRIPTION])
    nobody = planned([APP, OTHER, scoped(KAFKA, "else"), SUBSCRIPTION])

    assert list(subscriptions(made)) == ["function.stock.bus.a"]
    assert condition(made, "Subscription", "all", "Accepted")[0] == "True"
    assert condition(nobody, "Subscription", "all", "Accepted") == (
        "False", "Invalid", "spec: app orders: component bus is not for app orders",
    )  # fmt: skip


def test_functions_of_ours_have_topics_and_bindings_of_components() -> None:
    made = planned([OURS, KAFKA, TICK])
    found = subscriptions(made)

    assert set(found) == {"function.ours.bus.a", "binding.ours.tick"}
    assert (found["function.ours.bus.a"].path, found["function.ours.bus.a"].group) == ("/", "ours")
    tick = found["binding.ours.tick"]
    assert (tick.form, tick.path, tick.subject, tick.start) == (
        "binding",
        "/tick",
        "evoke.binding.default.ours.tick",
        "all",
    )
    (source,) = published(made).sources
    assert (source.kind, source.subject, source.bus) == ("cron", tick.subject, Key("default", "default"))
    assert condition(made, "Component", "tick", "Connected")[:2] == ("Unknown", "Unassigned")


@pytest.mark.parametrize(
    ("metadata", "said", "taken"),
    [
        ("", ("tick",), True),
        ("", (), False),
        (", {name: direction, value: input}", (), True),
        (', {name: direction, value: "input, output"}', (), True),
        (", {name: direction, value: output}", ("tick",), False),
    ],
)
def test_an_app_has_the_input_bindings_that_it_takes(metadata: str, said: tuple[str, ...], taken: bool) -> None:
    text = TICK.replace('"@every 1s"}', f'"@every 1s"}}{metadata}')
    found = subscriptions(planned([APP, text], shop=declared(bindings=said)))

    assert list(found) == (["binding.shop.tick"] if taken else [])


def test_a_binding_of_the_function_hides_the_one_of_its_name() -> None:
    own = resource(APP, serving__bindings={"tick": {"type": "bindings.cron", "version": "v1", "metadata": [
        {"name": "schedule", "value": "@every 7s"}]}})  # fmt: skip
    resources = [own, resource(TICK)]
    made = plan(worlds.world(resources, deployed(resources, shop=declared(bindings=("tick",)))))

    (source,) = published(made).sources
    assert source.options["schedule"] == "@every 7s"


def test_a_binding_may_have_a_route_of_its_own() -> None:
    text = TICK.replace('"@every 1s"}', '"@every 1s"}, {name: route, value: /on/tick}')

    assert (
        subscriptions(planned([APP, text], shop=declared(bindings=("tick",))))["binding.shop.tick"].path == "/on/tick"
    )


def test_a_component_of_the_function_comes_first() -> None:
    own = resource(APP, serving__pubsub={"bus": {"type": "pubsub.kafka", "version": "v1", "metadata": [
        {"name": "brokers", "value": "localhost:1"}, {"name": "consumerID", "value": "{namespace}"}]}})  # fmt: skip
    resources = [own, *map(resource, (KAFKA, SUBSCRIPTION, OTHER))]
    found = subscriptions(plan(worlds.world(resources, deployed(resources))))

    assert (found["function.shop.bus.a"].bus, found["function.shop.bus.a"].group) == (
        Key("default", "shop/bus"), "default.orders",
    )  # fmt: skip
    assert found["function.shop.bus.a"].subject == "defaulta"
    assert found["function.stock.bus.a"].bus == Key("default", "bus")


def test_a_function_says_how_its_own_components_are() -> None:
    own = resource(APP, serving__states={"cart": {"spec": {"type": "state.in-memory", "version": "v1"}}})
    seen = deployed([own])

    def said(**facts: str) -> tuple[str, str, str]:
        told = {f"default/{name}": text for name, text in facts.items()}
        return condition(
            plan(worlds.world([own], msgspec.structs.replace(seen, components=told))), "Function", "shop", "Connected"
        )

    assert said()[:2] == ("Unknown", "Unassigned")
    assert said(**{"shop/cart": ""})[:2] == ("True", "Connected")
    assert said(**{"shop/cart": "AuthFailed: no"}) == ("False", "AuthFailed", "cart: no")


def test_two_apps_with_one_consumer_group_both_get_everything() -> None:
    text = KAFKA.replace("value: none}", "value: none}, {name: consumerGroup, value: shared}")
    found = subscriptions(planned([APP, OTHER, text, SUBSCRIPTION]))

    assert [one.group for one in found.values()] == ["shared", "shared.stock"]


def test_a_topic_that_is_not_allowed() -> None:
    text = KAFKA.replace("value: none}", 'value: none}, {name: protectedTopics, value: "a"}')
    made = planned([APP, OURS, text, SUBSCRIPTION])

    assert subscriptions(made) == {}
    reason = "topic a is protected, and the component's subscriptionScopes do not name the app"
    assert condition(made, "Function", "ours", "Subscribed")[1:] == (
        "TopicDenied",
        f"{reason}; component tick is not in this namespace, or not for app ours",
    )
    assert condition(made, "Subscription", "all", "Accepted") == ("False", "Invalid", f"spec: app orders: {reason}")


@pytest.mark.parametrize(
    ("texts", "asked", "reason", "part"),
    [
        ([KAFKA], AppSubscription(pubsub="nope", topic="a", path="/"), "ComponentNotFound", "no pub/sub component"),
        ([KAFKA], AppSubscription(pubsub="bus", topic="a"), "NoRoute", "without a route"),
        ([KAFKA], AppSubscription(pubsub="bus", topic="a b", path="/"), "TopicDenied", "is not a Kafka topic"),
        (
            [KAFKA],
            AppSubscription(pubsub="default", topic="evoke.x", path="/"),
            "TopicDenied",
            "belong to the platform",
        ),
        (
            [scoped(KAFKA, "stock")],
            AppSubscription(pubsub="bus", topic="a", path="/"),
            "ComponentNotFound",
            "not for app",
        ),
        (
            [KAFKA.replace("brokers", "borkers")],
            AppSubscription(pubsub="bus", topic="a", path="/"),
            "ComponentNotFound",
            "does not hold",
        ),
    ],
)
def test_what_an_app_asks_for_in_vain(texts: list[str], asked: AppSubscription, reason: str, part: str) -> None:
    made = planned([APP, *texts], shop=declared(asked))
    status, told, message = condition(made, "Function", "shop", "Subscribed")

    assert (status, told) == ("False", reason)
    assert part in message
    assert set(subscriptions(made)) <= {"function.shop.bus.a"}
    assert bool(subscriptions(made)) is ("does not hold" in part)


def test_what_waits_outlives_a_component_that_does_not_hold() -> None:
    good = planned([APP, KAFKA, TICK, SUBSCRIPTION], shop=declared(bindings=("tick",)))
    bad = planned(
        [APP, KAFKA.replace("brokers", "borkers"), TICK.replace("bindings.cron", "bindings.corn"), SUBSCRIPTION],
        shop=declared(bindings=("tick",)),
    )

    assert subscriptions(bad) == subscriptions(good)
    assert [bus.key.name for bus in published(bad).buses] == ["default"]
    assert (published(bad).sources, published(bad).components) == ((), ())


def test_an_event_bus_is_a_pubsub_component_too() -> None:
    made = planned([APP], shop=declared(AppSubscription(pubsub="default", topic="a", path="/x")))
    (one,) = subscriptions(made).values()

    assert (one.bus, one.group, one.path) == (Key("default", "default"), "function.shop.default.a", "/x")


def test_an_app_takes_the_place_of_its_functions_trigger_on_an_event_bus() -> None:
    text = APP.replace("triggers: {}", "triggers: {dapr: [{name: default, topic: a}]}")
    both = SUBSCRIPTION.replace("pubsubname: bus", "pubsubname: default")
    made = planned([text, both])
    (trigger,) = subscriptions(made).values()
    (one,) = subscriptions(
        planned([text, both], shop=declared(AppSubscription(pubsub="default", topic="a", path="/x")))
    ).values()

    assert (trigger.key, trigger.group, trigger.path) == (one.key, one.group, "/")
    assert one.path == "/x"
    assert condition(made, "Subscription", "all", "Accepted")[2].endswith("by function shop itself")


def test_resiliency_makes_the_delivery_and_guards_the_calls() -> None:
    made = planned([APP, OTHER, KAFKA, SUBSCRIPTION, RESILIENCY])
    one = subscriptions(made)["function.shop.bus.a"]
    app = next(app for app in published(made).apps if app.id == "orders")
    guards = {guard.target: guard for guard in app.resilience}

    assert (one.delivery.max_attempts, one.delivery.timeout) == (5, timedelta(seconds=3))
    assert (one.delivery.backoff.initial, one.delivery.backoff.factor) == (timedelta(seconds=2), 1.0)
    assert set(guards) == {"app:", "app:stock", "component:", "component:bus"}
    bus = guards["component:bus"]
    assert bus.retry is not None
    assert bus.breaker is not None
    assert (bus.timeout, bus.retry.max_retries, bus.breaker.trip) == (None, 4, "consecutiveFailures > 2")
    assert (guards["app:stock"].timeout, guards["app:stock"].retry) == (timedelta(seconds=3), None)
    default = guards["app:"].retry
    assert default is not None
    assert (default.max_retries, default.backoff.factor) == (1, 1.5)


def test_codes_that_are_not_tried_again_reach_the_delivery() -> None:
    policy = RESILIENCY.replace("maxRetries: 4", 'maxRetries: 4, matching: {httpStatusCodes: "500-599"}')
    one = subscriptions(planned([APP, KAFKA, SUBSCRIPTION, policy]))["function.shop.bus.a"]

    assert (one.delivery.retry_statuses, one.delivery.retry_codes) == ("500-599", "")


def test_a_resiliency_for_others_changes_nothing() -> None:
    made = planned([APP, KAFKA, SUBSCRIPTION, scoped(RESILIENCY, "stock")])

    assert subscriptions(made)["function.shop.bus.a"].delivery.max_attempts == 10
    assert published(made).apps[0].resilience == ()


def test_retries_without_end_end() -> None:
    made = planned([APP, KAFKA, SUBSCRIPTION, RESILIENCY.replace("maxRetries: 4", "maxRetries: -1")])

    assert subscriptions(made)["function.shop.bus.a"].delivery.max_attempts == 1000


def test_a_stream_is_subscribed_once_the_status_knows_it() -> None:
    resources = [resource(APP), resource(KAFKA)]
    asked = AppSubscription(pubsub="bus", topic="a", metadata={"rawPayload": "true"}, dead_letter="dead")
    seen = msgspec.structs.replace(deployed(resources), streams={"default/shop": (asked,)})
    first = plan(worlds.world(resources, seen))
    assert subscriptions(first) == {}
    assert first.requeue == SOON

    (status,) = [one for one in first.statuses if one.kind == "Function"]
    stored: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(status.fields))
    resources[0] = msgspec.structs.replace(resources[0], status=stored)
    second = plan(worlds.world(resources, seen))
    (one,) = subscriptions(second).values()
    assert (one.key.name, one.form, one.group) == ("stream.shop.bus.a", "stream", "orders.stream")
    assert (one.delivery.dead_letter, one.bulk) == ("dead", 32)
    assert second.requeue is None

    closed = plan(worlds.world(resources, msgspec.structs.replace(seen, streams={})))
    assert published(closed) == published(second)


def test_an_app_id_belongs_to_one_function() -> None:
    made = planned([APP, OTHER.replace("app-id: stock", "app-id: orders")])

    assert [(app.key.name, app.id) for app in published(made).apps] == [("shop", "orders")]
    assert condition(made, "Function", "stock", "Accepted")[1:] == (
        "Conflict",
        "spec.serving.annotations.dapr.io/app-id: app id orders belongs to function shop; choose another",
    )


def test_a_function_that_cannot_be_read_forgets_nothing() -> None:
    status: dict[str, Any] = {"appId": "orders", "streams": [{"pubsub": "bus", "topic": "a"}]}
    unread = msgspec.structs.replace(
        resource(APP), spec=None, problems=(Problem(code="E111", message="no"),), status=status
    )
    (told,) = [one for one in plan(worlds.world([unread])).statuses if one.kind == "Function"]

    assert told.fields == status
    assert [(one.type, one.reason) for one in told.conditions] == [("Accepted", "Invalid")]


def test_who_has_an_app_id_keeps_it() -> None:
    earlier = APP.replace("name: shop", "name: aaa")
    seen = deployed([resource(APP), resource(earlier), resource(KAFKA), resource(SUBSCRIPTION)])
    mine = msgspec.structs.replace(resource(APP), status={"appId": "orders"})

    taken = plan(worlds.world([mine, *map(resource, (earlier, KAFKA, SUBSCRIPTION))], seen))
    assert [(app.key.name, app.id) for app in published(taken).apps] == [("shop", "orders")]
    assert condition(taken, "Function", "aaa", "Accepted")[1] == "Conflict"

    wrong = msgspec.structs.replace(mine, spec=resource(APP.replace("id: orders", "id: 'or ders'")).spec)
    kept = plan(worlds.world([wrong, *map(resource, (KAFKA, SUBSCRIPTION))], seen))
    assert [(app.key.name, app.id) for app in published(kept).apps] == [("shop", "orders")]
    assert subscriptions(kept)["function.shop.bus.a"].group == "orders"


def test_a_configuration_binds_the_app_that_names_it() -> None:
    text = """
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: strict}
spec:
  secrets: {scopes: [{storeName: vault, defaultAccess: deny, allowedSecrets: [a]}]}
  api: {denied: [{name: invoke, protocol: grpc}]}
  components: {deny: [pubsub.kafka]}
"""
    naming = APP.replace("app-id: orders", "app-id: orders, dapr.io/config: strict")
    made = planned([naming, text, KAFKA, SUBSCRIPTION])
    (app,) = published(made).apps

    assert [(one.store, one.default, one.allowed) for one in app.secrets] == [("vault", "deny", ("a",))]
    assert [(one.name, one.version, one.protocol) for one in app.denied_apis] == [("invoke", "v1", "grpc")]
    assert subscriptions(made) == {}

    missing = planned([naming])
    assert condition(missing, "Function", "shop", "Accepted")[1] == "Invalid"
    assert {one.name for one in published(missing).apps[0].denied_apis} == {"secrets"}


@pytest.mark.parametrize(
    ("text", "reason", "part"),
    [
        (KAFKA.replace("pubsub.kafka", "pubsub.kafak"), "NotYet", "did you mean `pubsub.kafka`?"),
        (KAFKA.replace("pubsub.kafka", "pubsub.snssqs"), "NotYet", "there is pubsub.in-memory, pubsub."),
        (KAFKA.replace("name: bus", "name: default"), "Conflict", "an EventBus is called `default` already"),
        (KAFKA.replace("{name: authType, value: none}", "{name: authType, envRef: HOME}"), "Invalid", "name a Secret"),
    ],
)
def test_a_component_that_does_not_hold_takes_part_in_nothing(text: str, reason: str, part: str) -> None:
    made = planned([text])
    (status,) = [one for one in made.statuses if one.kind == "Component"]

    assert [(one.type, one.status, one.reason) for one in status.conditions] == [("Accepted", "False", reason)]
    assert part in status.conditions[0].message
    assert published(made).components == ()


def test_secrets_of_a_store_are_asked_of_that_store() -> None:
    text = KAFKA.replace("authType, value: none}", "authType, value: password}, {name: saslUsername, value: me}, "
                         "{name: saslPassword, secretKeyRef: {name: kafka}}")  # fmt: skip
    stored = published(planned([f"{text}\nauth: {{secretStore: vault}}\n"]))
    builtin = published(planned([f"{text}\nauth: {{secretStore: kubernetes}}\n"]))

    assert stored.buses[0].options["saslPassword"] == SecretKeyRef(name="kafka", key="kafka", store="vault")
    assert stored.components[0].secret_store == "vault"
    assert builtin.buses[0].options["saslPassword"] == SecretKeyRef(name="kafka", key="kafka")
    assert b"store" not in msgspec.json.encode(SecretKeyRef(name="kafka", key="kafka"))


def test_a_component_is_connected_as_far_as_proxies_say() -> None:
    resources = [resource(KAFKA), resource(TICK)]
    seen = deployed(resources)
    made = plan(worlds.world(resources, msgspec.structs.replace(seen, buses={"default/bus": "AuthFailed: no"})))

    assert condition(made, "Component", "bus", "Connected") == ("False", "AuthFailed", "no")
    assert condition(made, "Component", "tick", "Connected") == ("True", "Connected", "no app uses it")


def test_what_a_configuration_says_in_vain_leaves_it_ready() -> None:
    text = (
        "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec: {tracing: {samplingRate: '1'}}"
    )

    assert condition(planned([text]), "Configuration", "c", "Accepted") == (
        "True", "Accepted", "spec.tracing: tracing comes with a later release",
    )  # fmt: skip


def test_a_breaker_that_cannot_be_compiled_is_refused() -> None:
    made = planned([RESILIENCY.replace("consecutiveFailures > 2", "failures > 2")])

    status, reason, message = condition(made, "Resiliency", "patience", "Accepted")
    assert (status, reason) == ("False", "Invalid")
    assert message.startswith("spec.policies.circuitBreakers.fuse.trip: `failures` is not counted")


WORDS = st.sampled_from(["bus", "default", "a", "a/b", "$share/g/a", "#", "", "evoke.x", "nope"]) | st.text(max_size=6)
ASKED = st.builds(
    AppSubscription,
    pubsub=WORDS,
    topic=WORDS,
    path=WORDS,
    rules=st.lists(st.builds(Rule, match=WORDS, path=WORDS), max_size=2).map(tuple),
    metadata=st.dictionaries(st.sampled_from(["rawPayload", "consumerID", "x"]), WORDS, max_size=2),
    dead_letter=WORDS,
    bulk=st.integers(0, 20_000),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(ASKED, max_size=4), st.lists(WORDS, max_size=2))
def test_whatever_an_app_says_of_itself_is_planned(asked: list[AppSubscription], bindings: list[str]) -> None:
    said = AppDeclaration(subscriptions=tuple(asked), bindings=tuple(bindings))
    found = subscriptions(planned([APP, KAFKA, TICK, SUBSCRIPTION], shop=said))

    assert all(one.bus in {Key("default", "bus"), Key("default", "default")} for one in found.values())
    assert all(one.path.startswith("/") and one.subject for one in found.values())


def test_every_substrate_has_the_same_snapshot() -> None:
    texts = [
        APP,
        APP.replace("name: shop", "name: port").replace("app-id: orders", "app-port: '3000'"),
        KAFKA,
        SUBSCRIPTION,
    ]
    resources = [resource(text) for text in texts]
    seen = deployed(resources)
    elsewhere = msgspec.structs.replace(seen, capabilities=frozenset({"images", "volumes"}))

    assert published(plan(worlds.world(resources, seen))) == published(plan(worlds.world(resources, elsewhere)))


def test_the_same_resources_give_the_same_bytes_in_any_order() -> None:
    texts = [APP, OTHER, OURS, KAFKA, TICK, SUBSCRIPTION, RESILIENCY]

    assert published(planned(texts)) == published(planned(texts[::-1]))
