"""Dapr's resources (dapr.io), and the component spec that a Function embeds."""

from __future__ import annotations

from typing import Any

from api.kinds.fields import Name, Subject, Wire


class SecretKeyRef(Wire, frozen=True, kw_only=True):
    """A value of a Secret."""

    name: Name
    """Name of the Secret."""
    key: str | None = None
    """Key in its data; empty: the Secret's own name."""


class MetadataItem(Wire, frozen=True, kw_only=True):
    """One setting of a component."""

    name: str
    """Name of the setting."""
    value: Any = None
    """String, number or boolean."""
    secret_key_ref: SecretKeyRef | None = None
    """Where a secret value stands."""
    env_ref: str | None = None
    """Environment variable that has the value."""


class ComponentBody(Wire, frozen=True, kw_only=True):
    """A Dapr component."""

    type: str
    """Such as ``pubsub.kafka`` or ``bindings.cron``."""
    version: str
    """Such as ``v1``."""
    metadata: tuple[MetadataItem, ...] = ()
    """Settings of the component type."""
    ignore_errors: bool | None = None
    """Whether the app starts although the component does not."""
    init_timeout: str | None = None
    """How long the component may take to start."""


class ComponentAuth(Wire, frozen=True, kw_only=True):
    """Where secretKeyRefs are looked up."""

    secret_store: str
    """Name of the secret store."""


class ComponentSpec(ComponentBody, frozen=True, kw_only=True):
    """A Dapr component as a resource of its own."""

    scopes: tuple[str, ...] = ()
    """App ids that may use it; empty: all of the namespace. Stands beside ``spec``."""
    auth: ComponentAuth | None = None
    """Where secretKeyRefs are looked up. Stands beside ``spec``."""


class SubscriptionRule(Wire, frozen=True, kw_only=True):
    """Where events that match go."""

    path: str
    """Path of the app."""
    match: str | None = None
    """CEL over the event; empty: every event."""


class SubscriptionRoutes(Wire, frozen=True, kw_only=True):
    """Rules, and where everything else goes."""

    default: str | None = None
    """Path of what no rule matched."""
    rules: tuple[SubscriptionRule, ...] = ()
    """Tried in order."""


class BulkSubscribe(Wire, frozen=True, kw_only=True):
    """Batches."""

    enabled: bool
    """Whether the app takes batches."""
    max_messages_count: int | None = None
    """Largest batch."""
    max_await_duration_ms: int | None = None
    """Longest wait for a full batch."""


class SubscriptionSpec(Wire, frozen=True, kw_only=True):
    """A topic delivered to an app."""

    pubsubname: str
    """Name of the component."""
    topic: Subject
    """The topic."""
    routes: SubscriptionRoutes
    """Paths of the app."""
    dead_letter_topic: Subject | None = None
    """Where failed events go."""
    bulk_subscribe: BulkSubscribe | None = None
    """Batches."""
    metadata: dict[str, str] = {}
    """Settings of the subscription."""
    scopes: tuple[str, ...] = ()
    """App ids it is for. Stands beside ``spec``."""


class ResiliencySpec(Wire, frozen=True, kw_only=True):
    """Retry, timeout and circuit breaker policies, and what they apply to."""

    policies: dict[str, Any]
    """Named policies."""
    targets: dict[str, Any] = {}
    """What they apply to."""
    scopes: tuple[str, ...] = ()
    """App ids it is for. Stands beside ``spec``."""
