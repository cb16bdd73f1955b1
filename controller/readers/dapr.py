"""Subscription and Configuration of dapr.io -> neutral model; pure."""

from __future__ import annotations

from datetime import timedelta

from api import support
from api.actions import Resource
from api.kinds.dapr import ApiAccessRule, BulkSubscribe, ConfigurationSpec, RouteSubscriptionSpec, SubscriptionSpec
from api.model import ApiRule, AppSubscription, Rule, SecretScope
from controller.readers.filters import uncompilable
from controller.readers.model import ConfigurationModel, Scope, SubscriptionModel

BATCH = 100
"""Largest batch of a bulk subscription that names none; Dapr's default, as is AWAIT."""
AWAIT = timedelta(seconds=1)


def read_subscription(resource: Resource, scope: Scope) -> SubscriptionModel:
    """*resource* holds a SubscriptionSpec, or the RouteSubscriptionSpec of v1alpha1."""
    spec: SubscriptionSpec | RouteSubscriptionSpec = resource.spec
    if isinstance(spec, RouteSubscriptionSpec):
        path, rules = spec.route or "", []
    else:
        path = spec.routes.default or ""
        rules = [Rule(match=rule.match or "", path=rule.path) for rule in spec.routes.rules]
    bulk, wait = _bulk(spec.bulk_subscribe)
    return SubscriptionModel(
        subscription=AppSubscription(
            pubsub=spec.pubsubname,
            topic=spec.topic,
            path=path,
            rules=tuple(rules),
            metadata=dict(sorted(spec.metadata.items())),
            dead_letter=spec.dead_letter_topic or "",
            bulk=bulk,
            bulk_wait=wait,
        ),
        scopes=spec.scopes,
        notes=support.notes("Subscription", spec, scope.capabilities),
        problems=tuple(
            problem
            for index, rule in enumerate(rules)
            if rule.match
            for problem in uncompilable(None, rule.match, f"spec.routes.rules[{index}].match")
        ),
    )


def _bulk(given: BulkSubscribe | None) -> tuple[int, timedelta]:
    if given is None or not given.enabled:
        return 0, timedelta(0)
    wait = timedelta(milliseconds=given.max_await_duration_ms) if given.max_await_duration_ms else AWAIT
    return given.max_messages_count or BATCH, wait


def read_configuration(resource: Resource, scope: Scope) -> ConfigurationModel:
    """*resource* holds a ConfigurationSpec."""
    spec: ConfigurationSpec = resource.spec
    return ConfigurationModel(
        secrets=tuple(
            SecretScope(
                store=one.store_name,
                default="deny" if one.default_access == "deny" else "allow",
                allowed=one.allowed_secrets,
                denied=one.denied_secrets,
            )
            for one in (spec.secrets.scopes if spec.secrets else ())
        ),
        allowed=tuple(_rule(one) for one in (spec.api.allowed if spec.api else ())),
        denied=tuple(_rule(one) for one in (spec.api.denied if spec.api else ())),
        denied_components=tuple(name.lower() for name in (spec.components.deny if spec.components else ())),
        notes=support.notes("Configuration", spec, scope.capabilities),
    )


def _rule(given: ApiAccessRule) -> ApiRule:
    protocol = given.protocol or "http"
    return ApiRule(
        name=given.name, version=given.version or ("v1" if protocol == "grpc" else "v1.0"), protocol=protocol
    )
