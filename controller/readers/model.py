"""What readers answer: one resource in the neutral model, every default filled, and what could not be honoured.

Readers are pure. They know one resource and the Scope around it; they never see another resource's spec.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from api.conditions import REASONS
from api.delivery import DeliveryPolicy
from api.errors import Problem
from api.meta import Key
from api.model import App, Build, Component, Join, Route, Source, Subscription, Workload
from api.scaling import ScalePolicy


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """What a reader may know about the rest of its namespace: names, never contents."""

    namespace: str
    buses: frozenset[str] = frozenset()
    """EventBus names that resolve here, cluster-wide ones among them; ``default`` always does."""
    sources: Mapping[str, str] = {}
    """``<eventsource>.<event>`` -> name of the bus that gets it."""
    functions: frozenset[str] = frozenset()
    capabilities: frozenset[str] = frozenset()
    """What the substrate can honour: ``processes``, ``images``... (Observed.capabilities)."""


class TrafficShare(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a function's work one revision gets."""

    revision: str
    """Five-digit revision; empty: the latest ready one."""
    weight: int
    tag: str | None = None


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
    app: App | None = None
    """None: it is no Dapr app and takes no part in its API."""
    components: tuple[Component, ...] = ()
    """That it declares for itself."""
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
