"""Readings of all agents to replica counts: one Decision per revision; pure.

The loop calls scale() at its own pace with what it knows and executes the actions; *memory* is all that is kept between
two calls, and a controller that restarts begins with an empty one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta

import msgspec

from api.actions import RevisionState, SetReplicas
from api.meta import RevisionKey
from api.model import Replica
from api.scaling import ScalePolicy
from controller.explanation import Explanation, explain
from controller.sight import Fleet, Sight, load, look
from triggers.autoscaler import Decision, History, desired_replicas
from triggers.rates import Meter

DEPARTED = 15.0
"""Seconds for which an agent that went away may still be using what it last knew."""
RETRY = 1.0
"""Seconds between two attempts to scale a revision in: agents may refuse."""
SOONEST = timedelta(milliseconds=50)
"""Least wait for a decision that only time changes."""
FIRST_DOUBT = 5.0
"""Seconds of blindness before condition Scaling says so."""


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    histories: dict[RevisionKey, History] = {}
    meters: dict[RevisionKey, Meter] = {}
    seen: dict[str, float] = {}
    """Agent -> when it was connected last."""
    drained: dict[RevisionKey, float] = {}
    """When replicas of a revision were last asked to go."""


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    actions: tuple[SetReplicas, ...] = ()
    explanations: dict[RevisionKey, Explanation] = {}
    scaling: dict[str, str] = {}
    """For Observed.scaling: function -> "" or ``Reason: message``."""
    requeue: timedelta | None = None
    """When a decision changes although no reading does."""
    memory: Memory = Memory()


def scale(fleet: Fleet, memory: Memory, now: float) -> Scaled:
    """Decide every revision at monotonic time *now*; a retired one is only ever scaled in."""
    seen = {**{name: at for name, at in memory.seen.items() if now - at < DEPARTED}, **dict.fromkeys(fleet.agents, now)}
    drained = {key: at for key, at in memory.drained.items() if now - at < RETRY}
    sight = look(fleet, seen, now)
    histories, meters, explanations, scaling = {}, {}, {}, {}
    actions: list[SetReplicas] = []
    for state in fleet.revisions:
        policy = state.scale or ScalePolicy()
        meters[state.key], found = load(sight, state, memory.meters.get(state.key, Meter()), now)
        decision = desired_replicas(policy, found, memory.histories.get(state.key, History()), now)
        histories[state.key] = decision.history
        explanations[state.key] = explain(policy, found, decision)
        action = _act(sight, state, decision)
        if action is not None and not (action.drain and state.key in drained):
            actions.append(action)
            drained.update({state.key: now} if action.drain else {})
        if state.key in sight.backends:
            scaling[str(state.key.function_key)] = _fact(policy, decision, now)
    waits = [one.next_change for one in explanations.values() if one.next_change is not None]
    return Scaled(
        actions=tuple(actions),
        explanations=explanations,
        scaling=scaling,
        requeue=max(min(waits), SOONEST) if waits else None,
        memory=Memory(histories=histories, meters=meters, seen=seen, drained=drained),
    )


def drain(replicas: Iterable[Replica], count: int, used: Mapping[str, int]) -> tuple[str, ...]:
    """*count* of *replicas* to give back: idle first, then the least busy, the youngest first among equals."""
    youngest = sorted(replicas, key=lambda one: (one.since, one.id), reverse=True)
    return tuple(one.id for one in sorted(youngest, key=lambda one: used.get(one.id, 0))[:count])


def _act(sight: Sight, state: RevisionState, decision: Decision) -> SetReplicas | None:
    if decision.limiter == "external":
        return None
    alive = sight.alive.get(state.key, [])
    leaving = drain(alive, len(alive) - decision.replicas, sight.used) if len(alive) > decision.replicas else ()
    if decision.replicas == state.wanted and not leaving:
        return None
    return SetReplicas(revision=state.key, replicas=decision.replicas, drain=leaving, because=decision.because)


def _fact(policy: ScalePolicy, decision: Decision, now: float) -> str:
    """What condition Scaling says, as Observed.scaling holds it."""
    since = decision.history.blind_since
    if decision.limiter == "fallback":
        return f"InFallback: {decision.because}"
    if since is not None and now - since >= FIRST_DOUBT:
        return f"ReadingFailed: {decision.because}"
    if decision.limiter == "max":
        return f"AtMax: {policy.max} replicas are the most allowed; raise scaleOptions.maxReplicas"
    return ""
