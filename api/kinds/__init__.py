"""The resource kinds, declared once: ``KINDS`` has one row per kind, its body as a msgspec Struct.

A body is what stands under ``spec``, with the fields in ``KindInfo.beside`` that stand beside ``spec`` put in.
CRDs, reference pages and the support table are made from these types.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from api.kinds import buses, core, dapr, events, keda, networking, openfunction, sources

CORE = "core.openfunction.io/v1beta2"
EVENTS = "events.openfunction.io/v1alpha1"
NETWORKING = "networking.openfunction.io/v1alpha1"
DAPR = "dapr.io/v1alpha1"


class KindInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One resource kind."""

    api_version: str
    kind: str
    plural: str
    short: tuple[str, ...] = ()
    namespaced: bool = True
    spec: type[msgspec.Struct]
    beside: tuple[str, ...] = ()
    """Wire names of body fields that stand beside ``spec``."""
    has_spec: bool = True
    own: bool = True
    """Whether its CRD is ours to install."""
    later: str = ""
    """Why it is read but not acted on yet; empty: it is."""

    @property
    def group(self) -> str:
        """API group; empty for Kubernetes' core kinds."""
        return self.api_version.rpartition("/")[0]

    @property
    def version(self) -> str:
        return self.api_version.rpartition("/")[2]

    @property
    def singular(self) -> str:
        return self.kind.lower()


def _foreign(
    api_version: str, kind: str, plural: str, spec: type[msgspec.Struct], later: str = "", **more: Any
) -> KindInfo:
    return KindInfo(api_version=api_version, kind=kind, plural=plural, spec=spec, own=False, later=later, **more)


_SCALERS = "KEDA's resources come with mode keda"

_ALL = (
    KindInfo(api_version=CORE, kind="Function", plural="functions", short=("fn",), spec=openfunction.FunctionSpec),
    KindInfo(
        api_version=CORE,
        kind="Serving",
        plural="servings",
        spec=openfunction.ServingSpec,
        later="revisions are made from the Function; apply that instead",
    ),
    KindInfo(
        api_version=CORE,
        kind="Builder",
        plural="builders",
        short=("fb",),
        spec=openfunction.BuilderSpec,
        later="builds are made from the Function; apply that instead",
    ),
    KindInfo(api_version=EVENTS, kind="EventBus", plural="eventbuses", short=("eb",), spec=buses.EventBusSpec),
    KindInfo(
        api_version=EVENTS,
        kind="ClusterEventBus",
        plural="clustereventbuses",
        short=("ceb",),
        namespaced=False,
        spec=buses.EventBusSpec,
    ),
    KindInfo(
        api_version=EVENTS, kind="EventSource", plural="eventsources", short=("es",), spec=sources.EventSourceSpec
    ),
    KindInfo(api_version=EVENTS, kind="Trigger", plural="triggers", short=("tr",), spec=events.TriggerSpec),
    KindInfo(
        api_version=NETWORKING,
        kind="Gateway",
        plural="gateways",
        spec=networking.GatewaySpec,
        later="hosts from a Gateway's domain come with Kubernetes; name them in route.hostnames",
    ),
    KindInfo(
        api_version="v1",
        kind="Secret",
        plural="secrets",
        spec=core.SecretBody,
        beside=("type", "immutable", "data", "stringData"),
        has_spec=False,
        own=False,
    ),
    _foreign(DAPR, "Component", "components", dapr.ComponentSpec, beside=("scopes", "auth")),
    _foreign(DAPR, "Subscription", "subscriptions", dapr.RouteSubscriptionSpec, beside=("scopes",)),
    _foreign("dapr.io/v2alpha1", "Subscription", "subscriptions", dapr.SubscriptionSpec, beside=("scopes",)),
    _foreign(DAPR, "Resiliency", "resiliencies", dapr.ResiliencySpec, beside=("scopes",)),
    _foreign(DAPR, "Configuration", "configurations", dapr.ConfigurationSpec),
    _foreign("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", keda.ScaledObjectSpec, _SCALERS, short=("so",)),
    _foreign("keda.sh/v1alpha1", "ScaledJob", "scaledjobs", keda.ScaledJobSpec, _SCALERS, short=("sj",)),
    _foreign(
        "keda.sh/v1alpha1",
        "TriggerAuthentication",
        "triggerauthentications",
        keda.TriggerAuthenticationSpec,
        _SCALERS,
        short=("ta",),
    ),
)

KINDS: Mapping[tuple[str, str], KindInfo] = {(info.api_version, info.kind): info for info in _ALL}
"""(apiVersion, kind) -> what is known of it."""

REFUSED: Mapping[str, str] = {
    "HTTPEndpoint": "a function calls addresses outside itself, or declares a Component of type bindings.http",
    "MCPServer": "there are no tools and conversations here",
    "WorkflowAccessPolicy": "there are no workflows here",
}
"""Kinds of dapr.io that are no kinds here -> why, and what to do instead."""

NAMES: Mapping[str, KindInfo] = {name: info for info in _ALL for name in (info.singular, info.plural, *info.short)}
"""Lower-case singular, plural and short names -> the kind."""
