"""What readers answer: one resource in the neutral model, every default filled, and what could not be honoured.

Readers are pure. They know one resource and the Scope around it; they never see another resource's spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from api.conditions import REASONS
from api.delivery import DeliveryPolicy
from api.errors import Problem
from api.meta import Key
from api.model import (
    ApiRule,
    App,
    AppSubscription,
    Build,
    Bus,
    CircuitBreaker,
    Component,
    Join,
    Retry,
    Route,
    SecretScope,
    Source,
    Subscription,
    Workload,
)
from api.scaling import ScalePolicy


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader may know about the rest of its namespace: names, never contents."""

    namespace: str
    buses: frozenset[str] = frozenset()
    """EventBus names that resolve here, cluster-wide ones among them; ``default`` always does."""
    sources: Mapping[str, str] = {}
    """``<eventsource>.<event>`` -> name of the bus that gets it."""
    functions: frozenset[str] = frozenset()
    components: Mapping[str, str] = {}
    """Component -> its type, of the resources."""
    capabilities: frozenset[str] = frozenset()
    """What the substrate can honour: ``processes``, ``images``... (Observed.capabilities)."""


class TrafficShare(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a function's work one revision gets."""

    revision: str
    """Five-digit revision; empty: the latest ready one."""
    weight: int
    tag: str | None = None


class ComponentModel(msgspec.Struct, frozen=True, kw_only=True):
    """One Component, of a resource or of a Function's own. With problems it takes part in nothing."""

    component: Component
    bus: Bus | None = None
    """Of a pub/sub type: under which its topics are delivered."""
    group: str = ""
    """Consumer group as written, placeholders and all; empty: the app id."""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


class SubscriptionModel(msgspec.Struct, frozen=True, kw_only=True):
    """One Subscription of dapr.io."""

    subscription: AppSubscription
    scopes: tuple[str, ...] = ()
    """Apps it is for; empty: all that are Dapr apps by themselves."""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


class ConfigurationModel(msgspec.Struct, frozen=True, kw_only=True):
    """What a Configuration binds the apps to that name it."""

    secrets: tuple[SecretScope, ...] = ()
    allowed: tuple[ApiRule, ...] = ()
    denied: tuple[ApiRule, ...] = ()
    denied_components: tuple[str, ...] = ()
    notes: tuple[Problem, ...] = ()


class Named(msgspec.Struct, frozen=True, kw_only=True):
    """Policies of one target by name; empty: none."""

    timeout: str = ""
    retry: str = ""
    breaker: str = ""


class ResiliencyModel(msgspec.Struct, frozen=True, kw_only=True):
    """Policies by name, and the targets that are listed."""

    timeouts: dict[str, timedelta] = {}
    retries: dict[str, Retry] = {}
    breakers: dict[str, CircuitBreaker] = {}
    apps: dict[str, Named] = {}
    inbound: dict[str, Named] = {}
    """By name of the component."""
    outbound: dict[str, Named] = {}
    scopes: tuple[str, ...] = ()
    """Apps it is for; empty: all of the namespace."""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


class ComponentTrigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger of a Function that is a topic of a pub/sub component, or an input binding (no topic)."""

    component: str
    topic: str = ""
    field: str = ""
    """Where it stands in the Function."""


class FunctionModel(msgspec.Struct, frozen=True, kw_only=True):
    """One Function. ``workload.key.revision`` is empty and the artifact is Unbuilt or an Image."""

    workload: Workload
    build: Build | None = None
    """None: nothing to build."""
    scale: ScalePolicy = ScalePolicy()
    route: Route | None = None
    """None: no HTTP trigger. Backends are empty."""
    subscriptions: tuple[Subscription, ...] = ()
    """Its own dapr triggers, and its asynchronous invocations. Backends are empty."""
    traffic: tuple[TrafficShare, ...] = ()
    """Empty: everything goes to the latest ready revision."""
    history_limit: int = 10
    app: App
    """As it declares itself; what Configurations and Resiliencies add is not in it."""
    identified: bool = True
    """Its app id is its own; False: another function has it."""
    configuration: str = ""
    """Configuration that it names; empty: none."""
    components: tuple[ComponentModel, ...] = ()
    """That it declares for itself."""
    triggers: tuple[ComponentTrigger, ...] = ()
    """Those that are components."""
    delivery: DeliveryPolicy = DeliveryPolicy()
    """Of its own triggers, and of sinks that declare none (``inherit``)."""
    notes: tuple[Problem, ...] = ()
    """Code NotYet or NotHere: one per field that is set and not honoured here."""
    problems: tuple[Problem, ...] = ()
    """What makes Accepted False; see accepted_reason()."""


class SourceModel(msgspec.Struct, frozen=True, kw_only=True):
    """One EventSource: its events, and the subscriptions that its sink asks for."""

    sources: tuple[Source, ...] = ()
    subscriptions: tuple[Subscription, ...] = ()
    functions: dict[Key, Key] = {}
    """Subscription -> the function that gets its events; the others have a sink."""
    inherit: frozenset[Key] = frozenset()
    """Subscriptions that declare no delivery: they take that of their function."""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


class TriggerModel(msgspec.Struct, frozen=True, kw_only=True):
    """One Trigger: a subscription per subscriber, receiver and input."""

    subscriptions: tuple[Subscription, ...] = ()
    joins: tuple[Join, ...] = ()
    functions: dict[Key, Key] = {}
    """Subscription -> the function that gets its events; the others have a sink."""
    inherit: frozenset[Key] = frozenset()
    """Subscriptions that declare no delivery: they take that of their function, but for the dead letter subject."""
    notes: tuple[Problem, ...] = ()
    problems: tuple[Problem, ...] = ()


def apart(notes: Iterable[Problem], problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """*notes* on fields that no problem names already."""
    named = tuple(problem.path for problem in problems)
    return tuple(note for note in notes if not note.path.startswith(named))


def accepted_reason(problem: Problem) -> str:
    """Reason of condition Accepted for *problem*: its code where that is one, else Invalid."""
    return problem.code if problem.code in REASONS["Accepted"] else "Invalid"
