"""Function, and the revision and build made from it."""

from __future__ import annotations

from collections.abc import Iterator

from api import topics
from api.consistency import choices, dapr
from api.consistency.pods import template
from api.kinds.build import BuildBody
from api.kinds.openfunction import (
    BuilderSpec,
    DaprInput,
    DaprOutput,
    DaprTrigger,
    FunctionSpec,
    ServingBody,
    ServingSpec,
    Triggers,
)
from api.kinds.pod import FUNCTION_CONTAINER
from api.kinds.scale import KedaScaleOptions
from api.structure import Fault
from api.tree import Path


def function(spec: FunctionSpec, _namespace: str, complete: bool) -> Iterator[Fault]:
    if complete and spec.build is None and spec.serving is None:
        yield Fault("E119", (), "one of `serving`, `build` is needed")
    if spec.build is not None:
        yield from _build(spec.build, ("build",))
    if spec.serving is not None:
        yield from _serving(spec.serving, ("serving",), complete)


def revision(spec: ServingSpec, _namespace: str, complete: bool) -> Iterator[Fault]:
    yield from _serving(spec, (), complete)


def builder(spec: BuilderSpec, _namespace: str, _complete: bool) -> Iterator[Fault]:
    yield from _build(spec, ())


def _build(build: BuildBody, path: Path) -> Iterator[Fault]:
    if build.src_repo is not None:
        yield from choices.at_most_one(build.src_repo, ("url", "bundleContainer"), (*path, "srcRepo"))
    for index, param in enumerate(build.shipwright.params if build.shipwright else ()):
        where = (*path, "shipwright", "params", index)
        yield from choices.at_most_one(param, ("value", "configMapValue", "secretValue", "values"), where)


def _serving(serving: ServingBody, path: Path, complete: bool) -> Iterator[Fault]:
    yield from _triggers(serving, path, complete)
    yield from _routes(serving, path)
    names = [output.dapr.output_name or output.dapr.name for output in serving.outputs]
    yield from choices.duplicates(names, (*path, "outputs"), "an output with this name")
    yield from _scale(serving, path)
    yield from _traffic(serving, path)
    yield from _components(serving, path)
    yield from _topics(serving, path)
    for name in serving.params.keys() & serving.params_from.keys():
        yield Fault("E117", (*path, "paramsFrom", name), "the same variable stands in params")
    if serving.template is not None:
        yield from template(serving.template, (*path, "template"))


def _components(serving: ServingBody, path: Path) -> Iterator[Fault]:
    """Those that the function declares for itself: each under its own name."""
    first: dict[str, str] = {}
    states = {name: state.spec for name, state in serving.states.items() if state is not None and state.spec}
    for field, group in (("pubsub", serving.pubsub), ("bindings", serving.bindings), ("states", states)):
        for name, body in group.items():
            where: Path = (*path, field, name)
            if first.setdefault(name, field) != field:
                yield Fault("E117", where, f"a component of this name already stands under {first[name]}")
            inner: Path = (*where, "spec") if field == "states" else where
            yield from (Fault(one.code, (*inner, *one.path), one.message) for one in dapr.component(body, "", True))


def _topics(serving: ServingBody, path: Path) -> Iterator[Fault]:
    """Where nothing says that a name is a component's, its topic is one of an EventBus."""
    triggers = serving.triggers or Triggers()
    given: list[tuple[Path, DaprTrigger | DaprInput | DaprOutput]] = [
        *((("triggers", "dapr", index), one) for index, one in enumerate(triggers.dapr)),
        *((("triggers", "inputs", index, "dapr"), one.dapr) for index, one in enumerate(triggers.inputs)),
        *((("outputs", index, "dapr"), one.dapr) for index, one in enumerate(serving.outputs)),
    ]
    for place, one in given:
        component = one.name in {*serving.pubsub, *serving.bindings} or "." in (one.type or "")
        if one.topic and not component and (wrong := topics.subject(one.topic)):
            yield Fault("E122", (*path, *place, "topic"), wrong)


def _declares_itself(serving: ServingBody) -> bool:
    """Whether it is a program, which says itself what it subscribes to, or has Subscriptions that do."""
    containers = serving.template.containers if serving.template else ()
    return any(one.name == FUNCTION_CONTAINER and (one.command or one.args) for one in containers)


def _triggers(serving: ServingBody, path: Path, complete: bool) -> Iterator[Fault]:
    triggers = serving.triggers
    where = (*path, "triggers")
    if triggers is None:
        if complete and not _declares_itself(serving):
            yield Fault(
                "E116",
                where,
                "what runs it? `{http: {}}`, `{dapr: [...]}`, or `{}` where a Trigger or EventSource delivers to it",
            )
        return
    if triggers.http is not None and triggers.dapr:
        yield Fault("E116", where, "both `http` and `dapr`: a function is synchronous or asynchronous, choose one")
    keys = [(trigger.name, trigger.topic) for trigger in triggers.dapr]
    yield from choices.duplicates(keys, (*where, "dapr"), "this trigger")
    for index, trigger in enumerate(triggers.dapr):
        pubsub = trigger.name in serving.pubsub or (trigger.type or "").startswith("pubsub")
        if pubsub and trigger.topic is None and complete:
            yield Fault("E119", (*where, "dapr", index), "`topic` is missing")


def _routes(serving: ServingBody, path: Path) -> Iterator[Fault]:
    route = serving.triggers.http.route if serving.triggers and serving.triggers.http else None
    if route is None:
        return
    where = (*path, "triggers", "http", "route")
    yield from choices.duplicates(route.hostnames, (*where, "hostnames"), "this host")
    defaults = [None if rule.matches else "default" for rule in route.rules]
    yield from choices.duplicates(defaults, (*where, "rules"), "a rule for every request")


def _scale(serving: ServingBody, path: Path) -> Iterator[Fault]:
    scale = serving.scale_options
    if scale is None:
        return
    where = (*path, "scaleOptions")
    low, high = scale.min_replicas or 0, 10 if scale.max_replicas is None else scale.max_replicas
    if scale.max_replicas == 0:
        yield Fault(
            "E113", (*where, "maxReplicas"), "0 would never run anything; `evoke scale --pause` stops a function"
        )
    elif low > high:
        given = "" if scale.max_replicas is not None else " (the default)"
        yield Fault("E113", (*where, "minReplicas"), f"minReplicas {low} is more than maxReplicas {high}{given}")
    concurrency = scale.knative.get("container-concurrency", "0")
    if not (concurrency.isascii() and concurrency.isdigit() and len(concurrency) <= 5):
        yield Fault("E113", (*where, "knative", "container-concurrency"), "expected a number such as `10`")
    if scale.keda is not None:
        yield from _keda(scale.keda, (*where, "keda"))


def _keda(keda: KedaScaleOptions, path: Path) -> Iterator[Fault]:
    yield from choices.at_most_one(keda, ("scaledObject", "scaledJob", "httpScaledObject"), path)
    names = [trigger.name for trigger in keda.triggers]
    yield from choices.duplicates(names, (*path, "triggers"), "a scaler with this name")
    fallback = keda.scaled_object.fallback if keda.scaled_object else None
    if fallback is not None and fallback.failure_threshold < 1:
        yield Fault("E113", (*path, "scaledObject", "fallback", "failureThreshold"), "0 is outside 1 to 1000000")


def _traffic(serving: ServingBody, path: Path) -> Iterator[Fault]:
    where = (*path, "traffic")
    yield from choices.duplicates([share.revision for share in serving.traffic], where, "this revision")
    total = sum(share.weight for share in serving.traffic)
    if serving.traffic and total != 100:
        yield Fault("E113", where, f"the weights are {total} together, they must be 100")
