"""Rows of api.support for Dapr's resources."""

from __future__ import annotations

from collections.abc import Mapping

from api.verdicts import BOTH, Support, later, refused

_SIDECAR = refused("it is about a sidecar, and there is none: one proxy serves all functions")
_BREAKER = refused("deliveries have a breaker of their own: intake pauses while the function fails event after event")
_ONE = refused("there is one breaker per target")

ROWS: Mapping[str, Mapping[str, Support]] = {
    "Component": {"": BOTH},
    "Subscription": {"": BOTH},
    "Resiliency": {
        "": BOTH,
        "targets.actors": refused("there are no actors"),
        "targets.apps.*.circuitBreakerCacheSize": _ONE,
        "targets.components.*.inbound.circuitBreaker": _BREAKER,
    },
    "Configuration": {
        "secrets": BOTH,
        "api": BOTH,
        "components": BOTH,
        "accessControl": later("apps invoke those of their own namespace, and no others"),
        "appHttpPipeline": later("there is no middleware"),
        "httpPipeline": later("there is no middleware"),
        "tracing": later("tracing comes with a later release"),
        "metric": _SIDECAR,
        "metrics": _SIDECAR,
        "mtls": _SIDECAR,
        "nameResolution": _SIDECAR,
        "features": _SIDECAR,
        "logging": _SIDECAR,
        "wasm": later("there is no middleware"),
        "workflow": refused("there are no workflows"),
    },
}
"""Kind -> field path below the body -> verdict, as in api.support."""
