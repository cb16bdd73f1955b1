"""Component, Subscription, Resiliency and Configuration of dapr.io."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from api.consistency import choices
from api.kinds.dapr import (
    ComponentBody,
    ConfigurationSpec,
    Guard,
    Policies,
    ResiliencySpec,
    RouteSubscriptionSpec,
    SubscriptionSpec,
)
from api.structure import Fault, similar
from api.tree import Path

BUILT_IN = ("DaprBuiltInServiceRetries", "DaprBuiltInInitializationRetries", "DaprBuiltInActorNotFoundRetries")
"""Retry policies that Dapr has without declaring them."""

_TYPE = re.compile(r"[A-Za-z0-9._-]{1,128}", re.ASCII)
_CODES = re.compile(r"\s*\d{1,3}(\s*-\s*\d{1,3})?\s*(,\s*\d{1,3}(\s*-\s*\d{1,3})?\s*)*", re.ASCII)


def component(spec: ComponentBody, _namespace: str, _complete: bool) -> Iterator[Fault]:
    """Of a resource, and of what a Function declares for itself."""
    if not _TYPE.fullmatch(spec.type):
        yield Fault("E113", ("type",), f"`{spec.type[:80]}` is no component type: write one such as `pubsub.kafka`")
    yield from choices.duplicates([item.name.lower() for item in spec.metadata], ("metadata",), "this setting")
    for index, item in enumerate(spec.metadata):
        yield from choices.at_most_one(item, ("value", "secretKeyRef"), ("metadata", index))
        yield from choices.at_most_one(item, ("secretKeyRef", "envRef"), ("metadata", index))


def subscription(spec: SubscriptionSpec | RouteSubscriptionSpec, _ns: str, complete: bool) -> Iterator[Fault]:
    if not spec.pubsubname:
        yield Fault("E119", ("pubsubname",), "name the pub/sub component")
    if isinstance(spec, RouteSubscriptionSpec):
        if complete and not spec.route:
            yield Fault("E119", ("route",), "name the path of the app that takes the events")
    elif complete and not spec.routes.default and not spec.routes.rules:
        yield Fault("E119", ("routes",), "name a path of the app: `default`, or `rules`")
    if spec.dead_letter_topic == spec.topic:
        yield Fault("E124", ("deadLetterTopic",), "it is the topic itself: what fails would come again for ever")


def resiliency(spec: ResiliencySpec, _namespace: str, _complete: bool) -> Iterator[Fault]:
    for name, retry in spec.policies.retries.items():
        for field in ("http_status_codes", "grpc_status_codes"):
            codes = getattr(retry.matching, field) if retry.matching else None
            if codes and not _CODES.fullmatch(codes):
                where = ("policies", "retries", name, "matching")
                yield Fault("E113", where, f"`{codes[:80]}` are no codes: write them as `429,500-599`")
    for app, guard in spec.targets.apps.items():
        yield from _guard(guard, spec.policies, ("targets", "apps", app))
    for component_, guards in spec.targets.components.items():
        for flow in ("inbound", "outbound"):
            if given := getattr(guards, flow):
                yield from _guard(given, spec.policies, ("targets", "components", component_, flow))


def _guard(guard: Guard, policies: Policies, path: Path) -> Iterator[Fault]:
    known: Mapping[str, Mapping[str, Any]] = {
        "timeout": policies.timeouts,
        "retry": {**policies.retries, **dict.fromkeys(BUILT_IN)},
        "circuitBreaker": policies.circuit_breakers,
    }
    for field, name in (("timeout", guard.timeout), ("retry", guard.retry), ("circuitBreaker", guard.circuit_breaker)):
        if name and name not in known[field]:
            hint = similar(name, list(known[field])) or "; declare it under policies"
            yield Fault("E119", (*path, field), f"there is no policy `{name[:80]}`{hint}")


def configuration(spec: ConfigurationSpec, _namespace: str, _complete: bool) -> Iterator[Fault]:
    scopes = spec.secrets.scopes if spec.secrets else ()
    path = ("secrets", "scopes")
    yield from choices.duplicates([scope.store_name for scope in scopes], path, "a scope of this store")
