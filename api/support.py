"""Which substrate honours which field: one literal table, and the notes that conditions and `apply` show from it.

A path names a field and everything below it; the longest path that covers a field decides. ``*`` stands for any key of
a map, ``[]`` for any item of a list, ``[function]`` for the function's own container. Nothing that is set is ignored in
silence: what is not honoured has its reason here. A test walks every type for fields without a row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import msgspec

from api import support_dapr
from api.errors import Problem
from api.kinds.pod import FUNCTION_CONTAINER, Container
from api.verdicts import BOTH, LATER, Support, Where, kubernetes, later, refused

_fields = cache(msgspec.structs.fields)
"""Looks its annotations up anew every time, and every plan asks for every resource."""

_IMAGES = later("functions run from source folders in this release")
_SHARED_CORES = kubernetes("processes of this machine have a limit of memory only")
_SHARED = refused("event sources run in the shared proxy, which needs no scaling of its own")
_STAN = refused(
    "NATS Streaming is at its end of life and this server is not contacted: this bus is served by the platform's own "
    "JetStream"
)
_ONE_CONNECTION = refused("a source keeps one connection that reads all the time")
_UPSTREAM_UNUSED = refused("upstream declares it and never reads it")
_LOG_LEVEL = refused("the platform has one log level; function logs are not touched by it")

_FUNCTION: Mapping[str, Support] = {
    "workloadRuntime": BOTH,
    "version": BOTH,
    "image": kubernetes("a function of this machine runs from its source folder"),
    "imageCredentials": kubernetes("a function of this machine runs from its source folder"),
    "revisionHistoryLimit": BOTH,
    "build.builder": _IMAGES,
    "build.builderCredentials": _IMAGES,
    "build.shipwright": _IMAGES,
    "build.env": later("a bundle is built without running anything; only the name of the handler is read"),
    "build.env.FUNC_NAME": BOTH,
    "build.env.FUNCTION_TARGET": BOTH,
    "build.env.GOOGLE_FUNCTION_TARGET": BOTH,
    "build.srcRepo.url": BOTH,
    "build.srcRepo.bundleContainer": _IMAGES,
    "build.srcRepo.revision": later("git sources come with a later release; clone it and name the folder"),
    "build.srcRepo.sourceSubPath": BOTH,
    "build.srcRepo.credentials": later("git sources come with a later release; clone it and name the folder"),
    "build.dockerfile": _IMAGES,
    "build.timeout": BOTH,
    "build.successfulBuildsHistoryLimit": refused("builds are kept by content, not by count"),
    "build.failedBuildsHistoryLimit": refused("the last failure stands in condition Built"),
    "build.builderMaxAge": refused("builds are kept by content, not by age"),
    "serving.triggers.http.port": BOTH,
    "serving.triggers.http.engine": BOTH,
    "serving.triggers.http.route.gatewayRef": kubernetes("one gateway serves this machine"),
    "serving.triggers.http.route.hostnames": BOTH,
    "serving.triggers.http.route.rules[].matches[].path": BOTH,
    "serving.triggers.http.route.rules[].matches[].method": BOTH,
    "serving.triggers.http.route.rules[].matches[].headers": LATER,
    "serving.triggers.http.route.rules[].matches[].queryParams": LATER,
    "serving.triggers.http.route.rules[].filters": LATER,
    "serving.triggers.http.route.rules[].backendRefs": refused("a rule's backend is always the function, as upstream"),
    "serving.triggers.dapr": BOTH,
    "serving.triggers.inputs": BOTH,
    "serving.handler": BOTH,
    "serving.concurrency": BOTH,
    "serving.delivery": BOTH,
    "serving.traffic": BOTH,
    "serving.resources.limits": _SHARED_CORES,
    "serving.resources.limits.memory": BOTH,
    "serving.resources.requests": kubernetes("processes are not placed by requests"),
    "serving.outputs": BOTH,
    "serving.bindings": BOTH,
    "serving.pubsub": BOTH,
    "serving.states": BOTH,
    "serving.scaleOptions.minReplicas": BOTH,
    "serving.scaleOptions.maxReplicas": BOTH,
    "serving.scaleOptions.knative": BOTH,
    "serving.scaleOptions.keda.scaledObject.pollingInterval": refused("load is pushed as it changes, not polled"),
    "serving.scaleOptions.keda.scaledObject.cooldownPeriod": BOTH,
    "serving.scaleOptions.keda.scaledObject.advanced": later("behavior comes with mode keda"),
    "serving.scaleOptions.keda.scaledObject.fallback": BOTH,
    "serving.scaleOptions.keda.scaledObject.fallback.behavior": refused("a failed reading never scales in"),
    "serving.scaleOptions.keda.scaledJob": later("jobs come with a later release"),
    "serving.scaleOptions.keda.httpScaledObject.targetPendingRequests": later("use serving.concurrency"),
    "serving.scaleOptions.keda.httpScaledObject.cooldownPeriod": BOTH,
    "serving.scaleOptions.keda.triggers": BOTH,
    "serving.params": BOTH,
    "serving.paramsFrom": BOTH,
    "serving.labels": BOTH,
    "serving.annotations": BOTH,
    "serving.template": kubernetes("a process has no pod"),
    "serving.template.containers[function].name": BOTH,
    "serving.template.containers[function].command": BOTH,
    "serving.template.containers[function].args": BOTH,
    "serving.template.containers[function].env": BOTH,
    "serving.template.containers[function].env[].valueFrom.configMapKeyRef": kubernetes(
        "this machine has no ConfigMaps"
    ),
    "serving.template.containers[function].env[].valueFrom.fieldRef": kubernetes("a process has no pod"),
    "serving.template.containers[function].env[].valueFrom.resourceFieldRef": kubernetes("a process has no pod"),
    "serving.template.containers[function].resources.limits": _SHARED_CORES,
    "serving.template.containers[function].resources.limits.memory": BOTH,
    "serving.template.terminationGracePeriodSeconds": BOTH,
    "serving.timeout": BOTH,
    "serving.hooks": later("hooks come with a later release"),
    "serving.tracing": later("tracing comes with a later release"),
    "serving.workloadType": BOTH,
}

_BUS: Mapping[str, Support] = {
    "topic": _UPSTREAM_UNUSED,
    "natsStreaming": _STAN,
    "natsStreaming.subscriptionType": refused("each trigger receives every event once, however many proxies run"),
    "natsStreaming.durableSubscriptionName": refused("the progress of every trigger is durable, under its own name"),
    "natsStreaming.ackWaitTime": refused("delivery.timeout of the trigger says when an event is tried again"),
    "natsStreaming.maxInFlight": BOTH,
    "natsStreaming.deliverNew": BOTH,
    "natsStreaming.deliverAll": BOTH,
    "natsStreaming.startAtSequence": BOTH,
    "natsStreaming.startWithLastReceived": BOTH,
    "natsStreaming.startAtTimeDelta": BOTH,
    "natsStreaming.startAtTime": BOTH,
    "natsStreaming.startAtTimeFormat": refused(
        "startAtTime is read as RFC 3339 or seconds since 1970; in another format the trigger starts with new events"
    ),
    "natsStreaming.consumerID": refused("proxies connect under names of their own"),
    "natsStreaming.scaleOption": refused("functions scale on the lag of their triggers; see serving.scaleOptions"),
    "nats": BOTH,
    "kafka": BOTH,
    "mqtt": BOTH,
}

_SOURCE: Mapping[str, Support] = {
    "eventBus": BOTH,
    "kafka": BOTH,
    "kafka.*.scaleOption": _SHARED,
    "kafka.*.scaleOption.consumerGroup": BOTH,
    "redis": BOTH,
    "redis.*.redisMaxRetries": refused("a source tries again for ever, and its condition says why"),
    "redis.*.writeTimeout": _ONE_CONNECTION,
    "redis.*.poolSize": _ONE_CONNECTION,
    "redis.*.poolTimeout": _ONE_CONNECTION,
    "redis.*.maxConnAge": _ONE_CONNECTION,
    "redis.*.minIdleConns": _ONE_CONNECTION,
    "redis.*.idleCheckFrequency": _ONE_CONNECTION,
    "redis.*.idleTimeout": _ONE_CONNECTION,
    "cron": BOTH,
    "mqtt": BOTH,
    "nats": BOTH,
    "http": BOTH,
    "sink.ref": BOTH,
    "sink.uri": BOTH,
    "build": _UPSTREAM_UNUSED,
    "logLevel": _LOG_LEVEL,
}

_TRIGGER: Mapping[str, Support] = {
    "eventBus": BOTH,
    "inputs": BOTH,
    "subscribers[].condition": BOTH,
    "subscribers[].filter": BOTH,
    "subscribers[].correlation": BOTH,
    "subscribers[].sink.ref": BOTH,
    "subscribers[].sink.uri": BOTH,
    "subscribers[].deadLetterSink": BOTH,
    "subscribers[].topic": BOTH,
    "subscribers[].deadLetterTopic": BOTH,
    "subscribers[].delivery": BOTH,
    "logLevel": _LOG_LEVEL,
}

_MADE = later("it is made from the Function; apply that instead")
_KEDA = later("KEDA's resources come with mode keda")

SUPPORT: Mapping[str, Mapping[str, Support]] = {
    "Function": _FUNCTION,
    "Serving": {"": _MADE},
    "Builder": {"": _MADE},
    "EventBus": _BUS,
    "ClusterEventBus": _BUS,
    "EventSource": _SOURCE,
    "Trigger": _TRIGGER,
    "Gateway": {"": later("hosts from a Gateway's domain come with Kubernetes; name them in route.hostnames")},
    "Secret": {"": BOTH, "type": BOTH, "immutable": later("a Secret of this machine can always be changed")},
    **support_dapr.ROWS,
    "ScaledObject": {"": _KEDA},
    "ScaledJob": {"": _KEDA},
    "TriggerAuthentication": {"": _KEDA},
}
"""Kind -> field path below the body -> verdict; the path "" is the whole kind."""


def support(kind: str, path: str) -> Support | None:
    """Verdict of the longest row that covers *path* (with ``*`` and ``[]``); None: there is none."""
    row = covering(kind, path)
    return None if row is None else SUPPORT[kind][row]


def covering(kind: str, path: str) -> str | None:
    """The longest row of *kind* that covers *path*."""
    rows = SUPPORT[kind]
    while path not in rows:
        if not path:
            return None
        path = path.rpartition("[" if path.endswith("]") else ".")[0]
    return path


def notes(kind: str, spec: Any, capabilities: Collection[str]) -> tuple[Problem, ...]:
    """One note per set field that is not honoured here: code NotYet, or NotHere for fields of another substrate."""
    here: Where = "local" if "processes" in capabilities else "kubernetes"
    found: dict[str, Problem] = {}
    for leaf in leaves(spec):
        row = covering(kind, leaf.pattern)
        verdict = LATER if row is None else SUPPORT[kind][row]
        if verdict.where in {"both", here}:
            continue
        code = "NotYet" if verdict.where == "later" else "NotHere"
        path = "spec." + (leaf.path if row == leaf.pattern else leaf.whole)
        found.setdefault(path, Problem(code=code, path=path, message=verdict.why))
    return tuple(found.values())


class Leaf(msgspec.Struct, frozen=True):
    """A field that holds something."""

    pattern: str
    """Its path as the table has it."""
    path: str
    whole: str
    """The map or list of plain values that it is part of; else the path itself."""


def leaves(value: Any, pattern: str = "", path: str = "") -> Iterator[Leaf]:
    """Every field of a body that holds something; what is written like its default counts as not set."""
    if isinstance(value, msgspec.Struct):
        for field in _fields(type(value)):
            inner = getattr(value, field.name)
            if inner != field.default:
                yield from _below(inner, f"{pattern}.{field.encode_name}", f"{path}.{field.encode_name}")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _below(inner, f"{pattern}.*", f"{path}.{key}")
    elif isinstance(value, tuple | list):
        for index, inner in enumerate(value):
            item = "[function]" if isinstance(inner, Container) and inner.name == FUNCTION_CONTAINER else "[]"
            yield from _below(inner, pattern + item, f"{path}[{index}]")


def _below(value: Any, pattern: str, path: str) -> Iterator[Leaf]:
    """Of maps of plain values each key may have a row of its own; lists of plain values are one field."""
    pattern, path = pattern.lstrip("."), path.lstrip(".")
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    if value is None or value in ({}, ()):
        return
    if isinstance(value, msgspec.Struct) or any(isinstance(inner, msgspec.Struct) for inner in inside):
        yield from leaves(value, pattern, path)
    elif isinstance(value, Mapping):
        yield from (Leaf(f"{pattern}.{key}", f"{path}.{key}", path) for key in value)
    else:
        yield Leaf(pattern, path, path)
