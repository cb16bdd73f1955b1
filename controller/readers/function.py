"""Function -> FunctionModel: OpenFunction's wire format with every default filled; pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import msgspec

from api import support
from api.actions import Resource
from api.delivery import DeliveryPolicy
from api.errors import Problem
from api.kinds.networking import RouteMatch
from api.kinds.openfunction import FunctionSpec, HttpTrigger, ServingBody
from api.meta import Key, RevisionKey
from api.model import Host, Match, Route, Subscription, Workload
from api.scaling import ScalePolicy
from controller.readers import apps, names
from controller.readers.apps import AppModel, read_app
from controller.readers.build import Made, read_build
from controller.readers.components import read_own
from controller.readers.context import DEFAULT_PORT, read_context
from controller.readers.delivery import duration, read_delivery
from controller.readers.inputs import read_inputs
from controller.readers.model import FunctionModel, Scope, TrafficShare, apart
from controller.readers.scale import read_concurrency, read_scale
from controller.readers.workload import read_env, read_grace, read_pod, read_resources, read_target

_KINDS: dict[str, Literal["service", "stateful", "job"]] = {"StatefulSet": "stateful", "Job": "job"}


def read_function(resource: Resource, scope: Scope) -> FunctionModel:
    """*resource* holds a FunctionSpec. Never raises: what does not hold stands in ``problems``."""
    spec: FunctionSpec = resource.spec
    serving = spec.serving or ServingBody()
    app = read_app(resource.key, serving)
    made = read_build(resource, spec, scope.capabilities, framework=not app.command)
    own = tuple(read_own(resource.key, serving, app.app.id))
    delivery = read_delivery(serving.delivery)
    http = serving.triggers.http if serving.triggers else None
    inputs = read_inputs(resource.key, serving, scope, delivery)
    workload = _workload(resource, spec, serving, scope, made, app)
    scale, bounded = _scale(serving, scope, workload)
    problems = (
        *made.problems,
        *_problems(spec, serving),
        *_unspoken(http, app),
        *app.problems,
        *inputs.problems,
        *(problem for _, one in own for problem in one.problems),
    )
    notes = (
        *support.notes("Function", spec, scope.capabilities),
        *app.notes,
        *bounded,
        *(note for _, one in own for note in one.notes),
    )
    return FunctionModel(
        workload=workload,
        build=made.build,
        scale=scale,
        route=_route(resource.key, http, delivery, app),
        subscriptions=(*inputs.subscriptions, *_invocations(resource.key, http, delivery, app)),
        traffic=tuple(
            TrafficShare(revision=share.revision.replace("latest", ""), weight=share.weight, tag=share.tag)
            for share in serving.traffic
        ),
        history_limit=spec.revision_history_limit or 10,
        app=app.app,
        configuration=app.configuration,
        components=tuple(one for _, one in own),
        triggers=inputs.triggers,
        delivery=delivery,
        notes=apart(notes, problems),
        problems=problems,
    )


def _workload(
    resource: Resource, spec: FunctionSpec, serving: ServingBody, scope: Scope, made: Made, app: AppModel
) -> Workload:
    http = serving.triggers.http if serving.triggers else None
    port = http.port if http else None
    version = spec.version or "latest"
    return Workload(
        key=RevisionKey(resource.key.namespace, resource.key.name, ""),
        artifact=made.artifact,
        host=_host(spec, app),
        target=read_target(spec, serving),
        context=read_context(resource, spec, serving, scope.components),
        port=app.port or port or (0 if app.command else DEFAULT_PORT),
        command=app.command,
        protocol="grpc" if app.app.protocol == "grpc" else "http",
        health=app.health,
        env=(*read_env(serving), *app.env),
        resources=read_resources(serving),
        concurrency=serving.concurrency or read_concurrency(serving.scale_options) or app.concurrency,
        start_timeout=duration(serving.timeout, timedelta(minutes=1)),
        grace=read_grace(serving),
        kind=_KINDS.get(serving.workload_type or "", "service"),
        pod=read_pod(serving.template),
        labels={"app.kubernetes.io/version": version, **serving.labels},
        annotations=dict(serving.annotations),
    )


def _host(spec: FunctionSpec, app: AppModel) -> Host:
    if (spec.workload_runtime or "").lower() == "wasmedge":
        return "wasm"
    return "command" if app.command else "python"


def _scale(serving: ServingBody, scope: Scope, workload: Workload) -> tuple[ScalePolicy, tuple[Problem, ...]]:
    """Of a program that names its port there is one replica where replicas share their ports."""
    scale = read_scale(serving.scale_options)
    if workload.host != "command" or not workload.port or "processes" not in scope.capabilities or scale.max == 1:
        return scale, ()
    one = msgspec.structs.replace(scale, min=min(scale.min, 1), initial=min(scale.initial, 1), max=1)
    message = (
        f"at most one replica on this machine, where only one program can listen on port {workload.port}; leave it out "
        "and listen on $APP_PORT to have more"
    )
    return one, (Problem(code="NotHere", path=f"{apps.FIELD}.{apps.PREFIX}app-port", message=message),)


def _route(key: Key, http: HttpTrigger | None, delivery: DeliveryPolicy, app: AppModel) -> Route | None:
    """Without an HTTP trigger a Dapr app is still invoked, by others through the Dapr API."""
    if http is None:
        return Route(key=key, timeout=delivery.timeout, internal=True, queued=False) if app.command else None
    given = http.route
    matches = [match for rule in (given.rules if given else ()) for match in rule.matches]
    return Route(
        key=key,
        hosts=tuple(sorted(given.hostnames)) if given else (),
        matches=tuple(sorted(_matches(matches), key=lambda match: (match.path, match.kind, match.methods))),
        timeout=delivery.timeout,
        queued=not app.command,
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


def _invocations(key: Key, http: HttpTrigger | None, delivery: DeliveryPolicy, app: AppModel) -> Iterator[Subscription]:
    """Asynchronous calls: accepted before anybody listens, so none may be skipped; they have no order.

    A Dapr app has no place that takes them.
    """
    if http is None or app.command:
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


def _unspoken(http: HttpTrigger | None, app: AppModel) -> Iterator[Problem]:
    if http is not None and app.app.protocol == "grpc":
        message = "the app speaks gRPC, and the gateway HTTP: others call it through the Dapr API, without this trigger"
        yield Problem(code="E118", path="spec.serving.triggers.http", message=message)


def _not_yet(path: str, message: str) -> Problem:
    return Problem(code="NotYet", path=path, message=message)
