"""KEDA and the autoscaler over one target: two clocks and the push between them, as one pure state machine.

KEDA's loop polls every ``pollingInterval`` and moves the target between zero and one; the autoscaler syncs every 15 s
and moves it between one and the maximum. Who drives it reads the triggers, passes what it read with the time, and
carries the answered count out. Times are seconds of one clock, quantities integers in thousandths.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from triggers.keda import activity, fallback
from triggers.keda.activity import Seen, Target
from triggers.keda.fallback import Fallback
from triggers.keda.formula import Formula
from triggers.keda.formula_tokens import BadFormula
from triggers.keda.pace import Behavior, Pace, Stamp, step
from triggers.keda.proposals import Counts, Metric, MetricType, Tolerance, asked

COMPOSITE = "composite-metric"
SYNC_EVERY = 15.0
"""Seconds: --horizontal-pod-autoscaler-sync-period."""

Actor = Literal["poll", "sync", "push"]


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """One trigger as declared."""

    name: str
    kind: MetricType = "AverageValue"
    target: int
    cached: bool = False
    """useCachedMetrics: a sync takes what the last poll has read."""


class Read(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger said."""

    value: int = 0
    active: bool = False
    error: str = ""


class Modifiers(msgspec.Struct, frozen=True, kw_only=True):
    """scalingModifiers: one metric made of all."""

    formula: Formula
    target: int
    activation: int = 0
    kind: MetricType = "AverageValue"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    triggers: tuple[Trigger, ...]
    target: Target = Target()
    max: int = 100
    fallback: Fallback | None = None
    behavior: Behavior | None = None
    modifiers: Modifiers | None = None
    tolerance: Tolerance = Tolerance()


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What lies between two calls."""

    created: float
    last_active: float | None = None
    pace: Pace = Pace()
    failures: dict[str, int] = {}
    """Trigger -> failed reads in a row, of both clocks."""
    cache: dict[str, Read] = {}
    """Trigger -> what the last poll has read."""
    synced: bool = False


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of one call: the replicas that there shall be, and why."""

    actor: Actor
    replicas: int
    why: str
    errors: tuple[str, ...] = ()
    state: State


def poll(settings: Settings, state: State, reads: Mapping[str, Read], current: int, *, now: float) -> Move:
    """KEDA's loop; its first call comes at once."""
    failures = {**state.failures, **_counted(state, reads)}
    failed = [name for name, read in reads.items() if read.error]
    standing = [name for name in failed if fallback.holds(settings.fallback, failures[name])]
    seen = Seen(
        active=_active(settings, reads) or bool(standing),
        error=len(failed) > len(standing),
    )
    verdict = activity.decide(
        settings.target, seen, current, last_active=state.last_active, created=state.created, now=now
    )
    return Move(
        actor="poll",
        replicas=verdict.replicas,
        why=verdict.why,
        errors=_errors(reads),
        state=msgspec.structs.replace(state, failures=failures, cache=dict(reads), last_active=verdict.last_active),
    )


def push(settings: Settings, state: State, current: int, *, active: bool, now: float) -> Move:
    """An external-push scaler spoke: that it is active counts at once, that it is not is left to the next poll."""
    if not active:
        return Move(actor="push", replicas=current, why="nothing to do", state=state)
    verdict = activity.decide(
        settings.target,
        Seen(active=True),
        current,
        last_active=state.last_active,
        created=state.created,
        now=now,
    )
    after = msgspec.structs.replace(state, last_active=verdict.last_active)
    return Move(actor="push", replicas=verdict.replicas, why=verdict.why, state=after)


def live(settings: Settings) -> tuple[str, ...]:
    """Triggers that a sync reads itself."""
    return tuple(trigger.name for trigger in settings.triggers if not trigger.cached)


def sync(settings: Settings, state: State, reads: Mapping[str, Read], counts: Counts, *, now: float) -> Move:
    """The autoscaler; *reads* has those of live(). It sleeps while there are no replicas."""
    current, least = counts.spec, max(settings.target.min, 1)
    state = _begun(state, current, now)
    if current == 0:
        return Move(actor="sync", replicas=0, why="it sleeps at zero", state=state)
    if not least <= current <= settings.max:
        bounded = min(max(current, least), settings.max)
        return Move(actor="sync", replicas=bounded, why="out of bounds", state=state)
    state = msgspec.structs.replace(state, failures={**state.failures, **_counted(state, reads)})
    known = {trigger.name: state.cache.get(trigger.name, Read()) for trigger in settings.triggers if trigger.cached}
    metrics = _combined(settings, _metrics(settings, state, {**known, **reads}, counts), counts)
    wanted = asked(metrics, counts, settings.tolerance)
    if wanted.replicas is None:
        return Move(
            actor="sync", replicas=current, why="held: a metric cannot be read", errors=wanted.errors, state=state
        )
    answer = step(
        state.pace, current, wanted.replicas, least=least, most=settings.max, behavior=settings.behavior, now=now
    )
    why = f"{wanted.metric} asks for {wanted.replicas}" + ("" if answer.limiter == "none" else f", {answer.limiter}")
    after = msgspec.structs.replace(state, pace=answer.pace)
    return Move(actor="sync", replicas=answer.replicas, why=why, errors=wanted.errors, state=after)


def _begun(state: State, current: int, now: float) -> State:
    """The very first sync remembers what there is as a recommendation."""
    if state.synced:
        return state
    first = (*state.pace.recommendations, Stamp(current, now))
    return msgspec.structs.replace(state, synced=True, pace=msgspec.structs.replace(state.pace, recommendations=first))


def _counted(state: State, reads: Mapping[str, Read]) -> dict[str, int]:
    return {name: fallback.failed(state.failures.get(name, 0), error=bool(read.error)) for name, read in reads.items()}


def _metrics(settings: Settings, state: State, reads: Mapping[str, Read], counts: Counts) -> Sequence[Metric]:
    return [_metric(settings, state, trigger, reads.get(trigger.name, Read(error="not read")), counts)
            for trigger in settings.triggers]  # fmt: skip


def _metric(settings: Settings, state: State, trigger: Trigger, read: Read, counts: Counts) -> Metric:
    metric = Metric(name=trigger.name, kind=trigger.kind, target=trigger.target, value=max(read.value, 0))
    if not read.error:
        return metric
    failures = state.failures.get(trigger.name, 0)
    if _through(settings):
        return msgspec.structs.replace(metric, value=None, error=read.error)
    if settings.fallback is None or not fallback.holds(settings.fallback, failures):
        return msgspec.structs.replace(metric, value=None, error=read.error)
    stand_in = fallback.value(
        settings.fallback, kind=trigger.kind, target=trigger.target, current=counts.spec, ready=counts.ready
    )
    return msgspec.structs.replace(metric, value=stand_in, stands_in=True)


def _active(settings: Settings, reads: Mapping[str, Read]) -> bool:
    """Of any trigger; with a formula, of what it comes to, and never while a trigger cannot be read."""
    if settings.modifiers is None:
        return any(read.active and not read.error for read in reads.values())
    if any(read.error for read in reads.values()):
        return False
    try:
        value = settings.modifiers.formula({name: read.value / 1000 for name, read in reads.items()})
    except BadFormula:
        return False
    return value is not None and value * 1000 > settings.modifiers.activation


def _combined(settings: Settings, metrics: Sequence[Metric], counts: Counts) -> Sequence[Metric]:
    """The one metric that a formula makes of all of them."""
    modifiers = settings.modifiers
    if modifiers is None:
        return metrics
    whole = Metric(name=COMPOSITE, kind=modifiers.kind, target=modifiers.target, value=None)
    if settings.fallback is not None and any(metric.stands_in for metric in metrics):
        stand_in = fallback.value(
            settings.fallback, kind=modifiers.kind, target=modifiers.target, current=counts.spec, ready=counts.ready
        )
        return [msgspec.structs.replace(whole, value=stand_in, stands_in=True)]
    broken = next((metric for metric in metrics if metric.value is None), None)
    if broken is not None and not _through(settings):
        return [msgspec.structs.replace(whole, error=f"{broken.name}: {broken.error}")]
    try:
        value = modifiers.formula({one.name: None if one.value is None else one.value / 1000 for one in metrics})
    except BadFormula as error:
        return [msgspec.structs.replace(whole, error=str(error))]
    if value is None:
        wanted = settings.fallback.replicas if settings.fallback is not None else counts.spec
        return [msgspec.structs.replace(whole, value=wanted * modifiers.target)]
    return [msgspec.structs.replace(whole, value=_sane(value))]


def _through(settings: Settings) -> bool:
    """Whether a formula itself says what stands in for a trigger that cannot be read."""
    behavior = settings.fallback.behavior if settings.fallback is not None else ""
    return settings.modifiers is not None and behavior == "scalingModifiers"


def _sane(value: float) -> int:
    """Thousandths; what is no finite number above zero counts as zero."""
    return round(value * 1000) if math.isfinite(value) and value > 0 else 0


def _errors(reads: Mapping[str, Read]) -> tuple[str, ...]:
    return tuple(f"{name}: {read.error}" for name, read in reads.items() if read.error)
