"""Status conditions: one table of types and reasons, and how Ready is derived from the others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal

import msgspec

Truth = Literal["True", "False", "Unknown"]

ORDER = ("Accepted", "Built", "Connected", "Available", "Routed", "Subscribed", "Scaling")
"""The order in which Ready looks for the first condition that is not True."""

INFORMATIVE = {
    "Accepted": frozenset({"NotHere", "NotYet"}),
    "Connected": frozenset({"SourceSaturated"}),
    "Scaling": frozenset({"AtMax", "Paused"}),
}
"""Reasons that leave Ready True: something is not honoured, and the rest works. Where nothing was done Accepted is the
only condition of ORDER, and Ready is not True."""

REASONS: Mapping[str, Mapping[str, str]] = {
    "Accepted": {
        "Accepted": "The resource is valid and everything it refers to may be used.",
        "Invalid": "A field does not hold; the message names it.",
        "NotHere": "A field is set that this substrate cannot honour; the message names its path.",
        "NotYet": "A field or kind is read but not acted on in this release.",
        "ScalerNeedsKeda": "A scaler type that only KEDA has, and no KEDA is present.",
        "ReferenceDenied": "A reference points outside the namespace.",
        "Conflict": "Another resource already owns what this one claims.",
        "ForeignCRD": "The installed CRD is not Evoke's.",
    },
    "Built": {
        "Built": "The artifact is ready.",
        "NoBuild": "There is nothing to build.",
        "Building": "The build runs.",
        "BuildFailed": "The build ended with an error; the message has its last line.",
        "BuildTimeout": "The build took longer than build.timeout.",
        "Canceled": "A newer spec replaced this build.",
        "SourceIsLocal": "The source is a folder on somebody's machine; run `evoke deploy`.",
        "SourceNotFound": "The source folder, repository or revision does not exist.",
        "PushDenied": "The registry refused the push.",
    },
    "Available": {
        "Available": "The revision has answered ready.",
        "IdleAtZero": "No replica runs because no work waits; the first event or request starts one.",
        "Starting": "The first replica is on its way.",
        "StartTimeout": "The replica was not ready within serving.timeout.",
        "HandlerError": "The user's module or handler cannot be loaded; the message has file, line and cause.",
        "OutOfMemory": "The replica went over its memory limit.",
        "AppUnhealthy": "A replica of the app fails its health check; it gets nothing new until it answers.",
        "DeclarationInvalid": "What the app says of its subscriptions does not hold; the message quotes it.",
        "PortTaken": "Somebody else listens at the port that the app insists on.",
        "CrashLoop": "Replicas keep exiting; the next start waits for the back-off.",
        "SecretNotFound": "A secret that the function is given, or its key, does not exist.",
        "ImagePull": "The image cannot be pulled.",
        "QuotaExceeded": "A quota of the namespace refused the replica.",
        "Draining": "The replicas finish their work and stop.",
    },
    "Routed": {
        "Routed": "The gateway serves the function.",
        "NotExposed": "The function has no HTTP trigger.",
        "NoGateway": "No gateway is connected.",
        "HostConflict": "Another function already has this host.",
        "GatewayApiAbsent": "The cluster has no Gateway API.",
    },
    "Subscribed": {
        "Subscribed": "A proxy owns every subscription.",
        "NothingToSubscribe": "The function has no event trigger.",
        "Unassigned": "No proxy owns it yet.",
        "BusNotFound": "The event bus does not exist in this namespace.",
        "BusUnreachable": "The event bus does not answer.",
        "TopicDenied": "The topic is not allowed for this function.",
        "ComponentNotFound": "The component does not exist in this namespace.",
        "NoRoute": "The app subscribes to a topic and does not say where it takes the events.",
        "DownstreamFailing": "The function fails event after event; intake is down to one probe at a time.",
        "DeadLetterUnavailable": "The dead letter store refuses; the failing key waits.",
    },
    "Connected": {
        "Connected": "The other side answered.",
        "Unreachable": "The other side does not answer in time.",
        "AuthFailed": "The other side refused the credentials.",
        "ConnectionRefused": "Nothing listens at the address.",
        "TLSFailed": "The TLS handshake failed.",
        "CertificateExpired": "The certificate of the other side is past its date.",
        "HostUnknown": "The name of the other side's host cannot be resolved.",
        "NotABroker": "Something that speaks another protocol listens at the address.",
        "StorageFailed": "The broker cannot write its store, as when its disk is full; nothing is acknowledged.",
        "SessionTaken": "Another client connects with the same client id, and each ends the other's connection.",
        "SecretNotFound": "The secret or its key does not exist.",
        "Unassigned": "No proxy has taken it yet.",
        "Missing": "The topic or stream that is to be read does not exist there, or is something else.",
        "PathTaken": "Another webhook is served at the same path.",
        "SourceSaturated": "The receive window has been full for 5 s: the bus is slower than the source.",
    },
    "Scaling": {
        "Scaling": "Every reading is fresh.",
        "ReadingFailed": "A reading failed; the replica count is held.",
        "InFallback": "Readings failed too often; the fallback count is in force.",
        "AtMax": "More work waits than the allowed replicas carry.",
        "HandingOver": "Another scaler takes over.",
        "Paused": "Scaling is paused.",
    },
    "Ready": {"Ready": "Everything above holds."},
    "Active": {"Active": "At least one replica runs.", "Idle": "No replica runs."},
    "Warm": {
        "Warm": "Starts are forked from a warm process.",
        "Cold": "Starts begin from nothing; the message says why.",
    },
}
"""Condition type -> reason -> what it means (generates the reference page)."""


class Condition(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One typed fact about a resource, in the shape of metav1.Condition."""

    type: str
    status: Truth
    reason: str
    message: str = ""
    """What to do next, in one line."""
    observed_generation: int = 0
    last_transition_time: datetime | None = None


def true(type_: str, reason: str = "", message: str = "") -> Condition:
    return Condition(type=type_, status="True", reason=reason or type_, message=message)


def false(type_: str, reason: str, message: str) -> Condition:
    return Condition(type=type_, status="False", reason=reason, message=message)


def unknown(type_: str, reason: str, message: str = "") -> Condition:
    return Condition(type=type_, status="Unknown", reason=reason, message=message)


def ready(conditions: Iterable[Condition]) -> Condition:
    """Ready: the first of ORDER that is not True, its reason copied; zero replicas is Ready."""
    by_type = {condition.type: condition for condition in conditions if condition.type != "Ready"}
    for type_ in ORDER:
        found = by_type.get(type_)
        informative = found is not None and found.reason in INFORMATIVE.get(type_, frozenset())
        alone = not any(other in by_type for other in ORDER if other != type_)
        if found and found.status != "True" and (alone or not informative):
            return Condition(type="Ready", status=found.status, reason=found.reason, message=found.message)
    return true("Ready")


def settle(
    old: Sequence[Condition], new: Sequence[Condition], *, generation: int, now: datetime
) -> tuple[Condition, ...]:
    """*new* plus Ready, stamped; a condition whose status did not change keeps its transition time."""
    before = {condition.type: condition for condition in old}

    def stamp(condition: Condition) -> Condition:
        known = before.get(condition.type)
        same = known is not None and known.status == condition.status and known.last_transition_time is not None
        at = known.last_transition_time if known is not None and same else now
        return msgspec.structs.replace(condition, observed_generation=generation, last_transition_time=at)

    return tuple(stamp(condition) for condition in (*new, ready(new)))
