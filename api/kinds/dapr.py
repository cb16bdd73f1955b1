"""Dapr's resources (dapr.io), and the component spec that a Function embeds."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.kinds.fields import Count, DaprTopic, Duration, Name, Wait, Wire


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
    init_timeout: Duration | None = None
    """How long the component may take to start."""


class ComponentAuth(Wire, frozen=True, kw_only=True):
    """Where secretKeyRefs are looked up."""

    secret_store: str
    """Name of the secret store."""


class ComponentSpec(ComponentBody, frozen=True, kw_only=True):
    """A Dapr component as a resource of its own."""

    version: str = "v1"
    """Such as ``v1``; a sidecar outside Kubernetes takes files without."""
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
    max_messages_count: Count | None = None
    """Largest batch; 100 where it is not given."""
    max_await_duration_ms: Count | None = None
    """Longest wait for a full batch in milliseconds; 1000 where it is not given."""


class SubscriptionBody(Wire, frozen=True, kw_only=True):
    """A topic delivered to an app; both versions have these."""

    pubsubname: str
    """Name of the component."""
    topic: DaprTopic
    """The topic."""
    dead_letter_topic: DaprTopic | None = None
    """Topic of the same component that gets what was given up, too."""
    bulk_subscribe: BulkSubscribe | None = None
    """Batches."""
    metadata: dict[str, str] = {}
    """Settings of the subscription: ``rawPayload``."""
    scopes: tuple[str, ...] = ()
    """App ids it is for; empty: every Dapr app of the namespace. Stands beside ``spec``."""


class SubscriptionSpec(SubscriptionBody, frozen=True, kw_only=True):
    """A topic delivered to an app."""

    routes: SubscriptionRoutes
    """Paths of the app."""


class RouteSubscriptionSpec(SubscriptionBody, frozen=True, kw_only=True):
    """A topic delivered to an app, at one path (v1alpha1)."""

    route: str | None = None
    """Path of the app."""


class Matching(Wire, frozen=True, kw_only=True):
    """Which failures are tried again; all where nothing is given."""

    http_status_codes: str | None = None
    """Codes and ranges: ``429,500-599``."""
    grpc_status_codes: str | None = msgspec.field(default=None, name="gRPCStatusCodes")
    """The same for gRPC: ``1-4,8``."""


class RetryPolicy(Wire, frozen=True, kw_only=True):
    """When and how often a call is tried again."""

    policy: Literal["constant", "exponential"] | None = None
    """How waits grow; ``constant`` where it is not given."""
    duration: Wait | None = None
    """Wait of policy ``constant``; 5s where it is not given. Those of ``exponential`` begin with 500ms."""
    max_interval: Wait | None = None
    """Longest wait of policy ``exponential``; 60s where it is not given."""
    max_retries: Annotated[int, Meta(ge=-1, le=1_000_000)] | None = None
    """Calls after the first one; -1, as where it is not given: without end."""
    matching: Matching | None = None
    """Which failures are tried again."""


class BreakerPolicy(Wire, frozen=True, kw_only=True):
    """When calls are refused without being made."""

    max_requests: Count | None = None
    """Calls let through while it is half open; 1 where it is not given."""
    interval: Wait | None = None
    """After which a closed one forgets what it counted; 0: never."""
    timeout: Wait | None = None
    """From open to half open; 60s where it is not given."""
    trip: str | None = None
    """CEL over what was counted; ``consecutiveFailures > 5`` where it is not given."""


class Policies(Wire, frozen=True, kw_only=True):
    """Policies by name. ``DefaultRetryPolicy`` and the like hold for targets that are not listed."""

    timeouts: dict[str, Wait] = {}
    """Limits of one call."""
    retries: dict[str, RetryPolicy] = {}
    """When and how often a call is tried again."""
    circuit_breakers: dict[str, BreakerPolicy] = {}
    """When calls are refused without being made."""


class Guard(Wire, frozen=True, kw_only=True):
    """Names of policies."""

    timeout: str | None = None
    """One of ``policies.timeouts``."""
    retry: str | None = None
    """One of ``policies.retries``, or a built-in one."""
    circuit_breaker: str | None = None
    """One of ``policies.circuitBreakers``."""


class AppGuard(Guard, frozen=True, kw_only=True):
    """Names of policies for invocations of an app."""

    circuit_breaker_cache_size: Count | None = None
    """How many breakers are kept; ours are one per target."""


class ComponentGuard(Wire, frozen=True, kw_only=True):
    """Policies of one component."""

    inbound: Guard | None = None
    """From the component to the app: deliveries."""
    outbound: Guard | None = None
    """From the app to the component."""


class Targets(Wire, frozen=True, kw_only=True):
    """What the policies are for."""

    apps: dict[str, AppGuard] = {}
    """Invocations, by app id."""
    components: dict[str, ComponentGuard] = {}
    """Components by name."""
    actors: dict[str, Any] = {}
    """There are no actors here."""


class ResiliencySpec(Wire, frozen=True, kw_only=True):
    """Retry, timeout and circuit breaker policies, and what they apply to."""

    policies: Policies
    """Named policies."""
    targets: Targets = Targets()
    """What they apply to."""
    scopes: tuple[str, ...] = ()
    """App ids it is for; empty: all of the namespace. Stands beside ``spec``."""


class SecretsScope(Wire, frozen=True, kw_only=True):
    """What may be read of one secret store."""

    store_name: str
    """Name of the secret store."""
    default_access: Literal["allow", "deny", ""] | None = None
    """For secrets that are not listed; ``allow`` where it is not given."""
    allowed_secrets: tuple[str, ...] = ()
    """All that may be read, where any are listed."""
    denied_secrets: tuple[str, ...] = ()
    """May not be read."""


class SecretsSpec(Wire, frozen=True, kw_only=True):
    """What apps may read of secret stores."""

    scopes: tuple[SecretsScope, ...] = ()
    """One entry per store."""


class ApiAccessRule(Wire, frozen=True, kw_only=True):
    """One API of the Dapr API."""

    name: str
    """``publish``, ``state``, ``invoke``..."""
    version: str | None = None
    """``v1.0`` (gRPC: ``v1``); that where it is not given."""
    protocol: Literal["http", "grpc"] | None = None
    """``http`` where it is not given."""


class ApiSpec(Wire, frozen=True, kw_only=True):
    """APIs that apps may call."""

    allowed: tuple[ApiAccessRule, ...] = ()
    """All that may be called over the protocols that are named here."""
    denied: tuple[ApiAccessRule, ...] = ()
    """May not be called."""


class ComponentsSpec(Wire, frozen=True, kw_only=True):
    """Component types that apps may not use."""

    deny: tuple[str, ...] = ()
    """Types: ``bindings.http``, ``bindings.http/v1``."""


class ConfigurationSpec(Wire, frozen=True, kw_only=True):
    """Settings of apps that name it in ``dapr.io/config``."""

    secrets: SecretsSpec | None = None
    """What apps may read of secret stores."""
    api: ApiSpec | None = None
    """APIs that apps may call."""
    components: ComponentsSpec | None = None
    """Component types that apps may not use."""
    access_control: dict[str, Any] | None = None
    """Who may invoke the app."""
    app_http_pipeline: dict[str, Any] | None = None
    """Middleware towards the app."""
    http_pipeline: dict[str, Any] | None = None
    """Middleware of the API."""
    tracing: dict[str, Any] | None = None
    """Where spans go."""
    metric: dict[str, Any] | None = None
    """Metrics of a sidecar."""
    metrics: dict[str, Any] | None = None
    """Metrics of a sidecar."""
    mtls: dict[str, Any] | None = None
    """Certificates between sidecars."""
    name_resolution: dict[str, Any] | None = None
    """How sidecars find each other."""
    features: tuple[dict[str, Any], ...] = ()
    """Preview features of a sidecar."""
    logging: dict[str, Any] | None = None
    """Logs of a sidecar."""
    wasm: dict[str, Any] | None = None
    """WebAssembly of a sidecar."""
    workflow: dict[str, Any] | None = None
    """Workflows."""
