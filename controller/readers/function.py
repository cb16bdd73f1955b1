"""Function -> FunctionModel: OpenFunction's wire format with every default filled; pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

from api import support
from api.actions import Resource
from api.delivery import DeliveryPolicy
from api.errors import Problem
from api.kinds.networking import RouteMatch
from api.kinds.openfunction import FunctionSpec, HttpTrigger, ServingBody
from api.meta import Key, RevisionKey
from api.model import Match, Route, Subscription, Workload
from controller.readers import names
from controller.readers.build import Made, read_build
from controller.readers.context import DEFAULT_PORT, component_type, read_context
from controller.readers.delivery import duration, read_delivery
from controller.readers.model import FunctionModel, Scope, TrafficShare, apart
from controller.readers.scale import read_concurrency, read_scale
from controller.readers.workload import read_env, read_grace, read_pod, read_resources, read_target

_KINDS: dict[str, Literal["service", "stateful", "job"]] = {"StatefulSet": "stateful", "Job": "job"}


def read_function(resource: Resource, scope: Scope) -> FunctionModel:
    """*resource* holds a FunctionSpec. Never raises: what does not hold stands in ``problems``."""
    spec: FunctionSpec = resource.spec
    serving = spec.serving or ServingBody()
    made = read_build(resource, spec, scope.capabilities)
    delivery = read_delivery(serving.delivery)
    http = serving.triggers.http if serving.triggers else None
    problems = (*made.problems, *_problems(spec, serving))
    return FunctionModel(
        workload=_workload(resource, spec, serving, made),
        build=made.build,
        scale=read_scale(serving.scale_options),
        route=_route(resource.key, http, delivery) if http else None,
        subscriptions=(*_subscriptions(resource.key, serving, delivery), *_invocations(resource.key, http, delivery)),
        traffic=tuple(
            TrafficShare(revision=share.revision.replace("latest", ""), weight=share.weight, tag=share.tag)
            for share in serving.traffic
        ),
        history_limit=spec.revision_history_limit or 10,
        delivery=delivery,
        notes=apart(support.notes("Function", spec, scope.capabilities), problems),
        problems=problems,
    )


def _workload(resource: Resource, spec: FunctionSpec, serving: ServingBody, made: Made) -> Workload:
    http = serving.triggers.http if serving.triggers else None
    version = spec.version or "latest"
    return Workload(
        key=RevisionKey(resource.key.namespace, resource.key.name, ""),
        artifact=made.artifact,
        host="wasm" if (spec.workload_runtime or "").lower() == "wasmedge" else "python",
        target=read_target(spec, serving),
        context=read_context(resource, spec, serving),
        port=(http.port if http else None) or DEFAULT_PORT,
        env=read_env(serving),
        resources=read_resources(serving),
        concurrency=serving.concurrency or read_concurrency(serving.scale_options),
        start_timeout=duration(serving.timeout, timedelta(minutes=1)),
        grace=read_grace(serving),
        kind=_KINDS.get(serving.workload_type or "", "service"),
        pod=read_pod(serving.template),
        labels={"app.kubernetes.io/version": version, **serving.labels},
        annotations=dict(serving.annotations),
    )


def _route(key: Key, http: HttpTrigger, delivery: DeliveryPolicy) -> Route:
    given = http.route
    matches = [match for rule in (given.rules if given else ()) for match in rule.matches]
    return Route(
        key=key,
        hosts=tuple(sorted(given.hostnames)) if given else (),
        matches=tuple(sorted(_matches(matches), key=lambda match: (match.path, match.kind, match.methods))),
        timeout=delivery.timeout,
    )


def _matches(given: list[RouteMatch]) -> Iterator[Match]:
    """One Match per path; a match without a method is for every method, whatever others say."""
    methods: dict[tuple[str, Literal["prefix", "exact"]], set[str]] = {}
    everything = set()
    for match in given:
        kind: Literal["prefix", "exact"] = "exact" if match.path and match.path.type == "Exact" else "prefix"
        place = (match.path.value if match.path else "/", kind)
        methods.setdefault(place, set()).update({match.method} if match.method else ())
        if match.method is None:
            everything.add(place)
    for place, found in methods.items():
        path, kind = place
        yield Match(path=path, kind=kind, methods=() if place in everything else tuple(sorted(found)))


def _subscriptions(key: Key, serving: ServingBody, delivery: DeliveryPolicy) -> Iterator[Subscription]:
    """A dapr trigger whose name is no component of the function is a topic of the EventBus of that name."""
    for trigger in serving.triggers.dapr if serving.triggers else ():
        owned = trigger.name in serving.pubsub or trigger.name in serving.bindings
        kind = component_type(serving, trigger.name, trigger.type)
        if owned or trigger.topic is None or not kind.startswith("pubsub"):
            continue
        name = names.own(key, trigger.name, trigger.topic)
        yield Subscription(
            key=name,
            bus=Key(key.namespace, trigger.name),
            subject=trigger.topic,
            group=name.name,
            trigger=key.name,
            delivery=delivery,
        )


def _invocations(key: Key, http: HttpTrigger | None, delivery: DeliveryPolicy) -> Iterator[Subscription]:
    """Asynchronous calls: accepted before anybody listens, so none may be skipped; they have no order."""
    if http is None:
        return
    name = names.invocations(key)
    yield Subscription(
        key=name,
        bus=Key(key.namespace, names.DEFAULT_BUS),
        subject=names.invocation_subject(key),
        group=name.name,
        trigger=key.name,
        path=names.INVOCATION_PATH,
        delivery=delivery,
        start="all",
    )


def _problems(spec: FunctionSpec, serving: ServingBody) -> Iterator[Problem]:
    """What leaves the function without its main path."""
    if spec.serving is None:
        yield _not_yet(
            "spec.serving", "a Function that is only built comes with a later release; name serving.triggers"
        )
    if (spec.workload_runtime or "").lower() == "wasmedge":
        yield _not_yet("spec.workloadRuntime", "WasmEdge comes with a later release; use OCIContainer")
    if serving.workload_type == "Job":
        yield _not_yet("spec.serving.workloadType", "jobs come with a later release; use Deployment")
    for index, trigger in enumerate(serving.triggers.dapr if serving.triggers else ()):
        path = f"spec.serving.triggers.dapr[{index}]"
        kind = component_type(serving, trigger.name, trigger.type)
        if trigger.name in serving.pubsub or trigger.name in serving.bindings or not kind.startswith("pubsub"):
            yield _not_yet(path, f"component {trigger.name} ({kind}) comes with a later release; use an EventBus")
        elif trigger.topic is None:
            yield Problem(code="Invalid", path=path, message=f"`{trigger.name}` is an EventBus: name the topic")
    for index, output in enumerate(serving.outputs):
        kind = component_type(serving, output.dapr.name, output.dapr.type)
        if output.dapr.name in serving.pubsub or not kind.startswith("pubsub"):
            message = f"component {output.dapr.name} ({kind}) comes with a later release; use an EventBus"
            yield _not_yet(f"spec.serving.outputs[{index}]", message)


def _not_yet(path: str, message: str) -> Problem:
    return Problem(code="NotYet", path=path, message=message)
