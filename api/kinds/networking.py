"""Gateway (networking.openfunction.io/v1alpha1) and the parts of the Gateway API that a Function embeds."""

from __future__ import annotations

from typing import Any, Literal

from api.kinds.fields import Host, Name, ObjectReference, Port, Wire


class HeaderMatch(Wire, frozen=True, kw_only=True):
    """A header or query parameter that must match."""

    name: str
    """Its name."""
    value: str
    """Value or pattern."""
    type: Literal["Exact", "RegularExpression"] | None = None
    """How it is compared."""


class PathMatch(Wire, frozen=True, kw_only=True):
    """A path that must match."""

    type: Literal["Exact", "PathPrefix", "RegularExpression"] = "PathPrefix"
    """How it is compared."""
    value: str = "/"
    """The path."""


class RouteMatch(Wire, frozen=True, kw_only=True):
    """What a request must be; everything given must hold."""

    path: PathMatch | None = None
    """Its path."""
    method: Literal["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"] | None = None
    """Its method."""
    headers: tuple[HeaderMatch, ...] = ()
    """Its headers."""
    query_params: tuple[HeaderMatch, ...] = ()
    """Its query parameters."""


class RouteRule(Wire, frozen=True, kw_only=True):
    """A Gateway API HTTPRouteRule; its backend is always the function."""

    matches: tuple[RouteMatch, ...] = ()
    """Alternatives; empty: every request."""
    filters: tuple[dict[str, Any], ...] = ()
    """Gateway API filters."""
    backend_refs: tuple[dict[str, Any], ...] = ()
    """Overwritten with the function, as upstream does."""


class GatewayDefinition(Wire, frozen=True, kw_only=True):
    """A Gateway API Gateway to be made."""

    name: Name
    """Its name."""
    namespace: Name | None = None
    """Its namespace."""
    gateway_class_name: str
    """Its class."""


class Listener(Wire, frozen=True, kw_only=True):
    """A Gateway API listener."""

    name: Name
    """Its name."""
    hostname: Host | None = None
    """Host it answers for."""
    port: Port
    """Port it listens on."""
    protocol: str
    """``HTTP`` or ``HTTPS``."""
    tls: dict[str, Any] | None = None
    """Certificates."""
    allowed_routes: dict[str, Any] | None = None
    """Which routes may attach."""


class Listeners(Wire, frozen=True, kw_only=True):
    """Listeners of the Gateway."""

    listeners: tuple[Listener, ...] = ()
    """The listeners."""


class GatewaySpec(Wire, frozen=True, kw_only=True):
    """Where functions get their hosts and paths from."""

    domain: Host
    """Domain under which functions are reached."""
    cluster_domain: Host = "cluster.local"
    """Domain inside the cluster."""
    host_template: str = "{{.Name}}.{{.Namespace}}.{{.Domain}}"
    """Host of a function without hostnames."""
    path_template: str = "{{.Namespace}}/{{.Name}}"
    """Path of a function with hostnames and no rules."""
    http_route_label_key: str = "app.kubernetes.io/managed-by"
    """Label on the routes made."""
    gateway_ref: ObjectReference | None = None
    """An existing Gateway API Gateway; exactly one of gatewayRef and gatewayDef."""
    gateway_def: GatewayDefinition | None = None
    """One to be made."""
    gateway_spec: Listeners | None = None
    """Its listeners."""
