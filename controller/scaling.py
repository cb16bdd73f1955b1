"""Readings of all agents to replica counts: one Load and one Decision per revision; pure.

The loop calls scale() at its own pace with what it knows and executes the actions; *memory* is all that is kept between
two calls, and a controller that restarts begins with an empty one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from api.actions import RevisionState, SetReplicas
from api.frames import Readings, TriggerReading, Want
from api.meta import Key, RevisionKey
from api.model import Replica, Snapshot, Subscription
from api.scaling import ScalePolicy
from controller.explanation import Explanation, explain
from triggers.autoscaler import Decision, History, desired_replicas
from triggers.load import Load
from triggers.rates import Count, Meter, Rates, step
from triggers.scalers import inflight, lag

WARM_UP = 30.0
"""Seconds after the start in which an agent that has not spoken keeps everybody from scaling in."""
DEPARTED = 15.0
"""Seconds for which an agent that went away may still be using what it last knew."""
RETRY = 1.0
"""Seconds between two attempts to scale a revision in: agents may refuse."""
SOONEST = timedelta(milliseconds=50)
"""Least wait for a decision that only time changes."""
FIRST_DOUBT = 5.0
"""Seconds of blindness before condition Scaling says so."""


class Agent(Protocol):
    """What is needed of replicas.server.AgentState."""

    @property
    def role(self) -> str: ...
    @property
    def boot_id(self) -> str: ...
    @property
    def readings(self) -> Readings | None: ...
    @property
    def received(self) -> float: ...
    @property
    def wants(self) -> Mapping[RevisionKey, Want]: ...


class Fleet(msgspec.Struct, frozen=True, kw_only=True):
    """All that scale() may see; times are monotonic seconds."""

    agents: Mapping[str, Agent]
    """Connected proxies and gateways by name."""
    revisions: tuple[RevisionState, ...]
    """With the scale policy of their last Ensure."""
    replicas: tuple[Replica, ...]
    snapshots: tuple[Snapshot, ...]
    """As published: which revision serves what."""
    started: float = 0.0
    """When the controller started."""
    expected: frozenset[str] = frozenset()
    """Agents that are known to run; empty: at least one proxy and one gateway."""


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


class _Sight(msgspec.Struct, frozen=True, kw_only=True):
    """The readings of all agents, sorted by what they are about."""

    blind: str
    age: timedelta
    triggers: dict[Key, TriggerReading]
    used: dict[str, int]
    """Replica -> in flight, over all agents."""
    backends: dict[RevisionKey, list[Subscription]]
    """Serving revision -> its subscriptions; a revision that only has routes stands here with none."""


def scale(fleet: Fleet, memory: Memory, now: float) -> Scaled:
    """Decide every revision; a retired one is only ever scaled in."""
    seen = {**{name: at for name, at in memory.seen.items() if now - at < DEPARTED}, **dict.fromkeys(fleet.agents, now)}
    sight = _look(fleet, seen, now)
    histories, meters, explanations, scaling = {}, {}, {}, {}
    drained = {key: at for key, at in memory.drained.items() if now - at < RETRY}
    actions: list[SetReplicas] = []
    for state in fleet.revisions:
        policy = state.scale or ScalePolicy()
        meters[state.key], load = _load(fleet, sight, state, memory.meters.get(state.key, Meter()), now)
        decision = desired_replicas(policy, load, memory.histories.get(state.key, History()), now)
        histories[state.key] = decision.history
        explanations[state.key] = explain(policy, load, decision)
        action = _act(fleet, sight, state, decision)
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


def _act(fleet: Fleet, sight: _Sight, state: RevisionState, decision: Decision) -> SetReplicas | None:
    if decision.limiter == "external":
        return None
    alive = [one for one in fleet.replicas if one.revision == state.key and one.phase in {"starting", "ready"}]
    leaving = drain(alive, len(alive) - decision.replicas, sight.used) if len(alive) > decision.replicas else ()
    if decision.replicas == state.wanted and not leaving:
        return None
    return SetReplicas(revision=state.key, replicas=decision.replicas, drain=leaving, because=decision.because)


def _look(fleet: Fleet, seen: Mapping[str, float], now: float) -> _Sight:
    backends: dict[RevisionKey, list[Subscription]] = {}
    for snapshot in fleet.snapshots:
        for route in snapshot.routes:
            for backend in route.backends:
                backends.setdefault(backend.revision, [])
        for subscription in snapshot.subscriptions:
            for backend in subscription.backends:
                backends.setdefault(backend.revision, []).append(subscription)
    readings = [agent.readings for agent in fleet.agents.values() if agent.readings is not None]
    used: dict[str, int] = {}
    for one in readings:
        for replica, count in one.used.items():
            used[replica] = used.get(replica, 0) + count
    oldest = min((agent.received for agent in fleet.agents.values() if agent.readings is not None), default=now)
    newest = lag.newest(reading for one in readings for reading in one.triggers)
    return _Sight(
        blind=_unsettled(fleet, seen, now),
        age=timedelta(seconds=max(0.0, now - oldest)),
        triggers={reading.subscription: reading for reading in newest},
        used=used,
        backends=backends,
    )


def _unsettled(fleet: Fleet, seen: Mapping[str, float], now: float) -> str:
    """Why the readings at hand are not all there are; empty: they are."""
    silent = next((name for name, agent in sorted(fleet.agents.items()) if agent.readings is None), "")
    if silent:
        return f"{silent} has not reported yet"
    away = next((name for name in sorted(seen) if name not in fleet.agents), "")
    if away:
        return f"{away} is away"
    roles = {agent.role for agent in fleet.agents.values()}
    absent = sorted(fleet.expected - fleet.agents.keys()) if fleet.expected else sorted({"proxy", "gateway"} - roles)
    if absent and now - fleet.started < WARM_UP:
        return f"{absent[0]} has not reported since the controller started"
    return ""


def _load(fleet: Fleet, sight: _Sight, state: RevisionState, meter: Meter, now: float) -> tuple[Meter, Load]:
    subscriptions = sight.backends.get(state.key, [])
    events = lag.read(
        reading
        for one in subscriptions
        if (reading := sight.triggers.get(one.key)) and _whose(one, reading) == state.key
    )
    requests = inflight.read(
        reading
        for agent in fleet.agents.values()
        for reading in (agent.readings.routes if agent.readings else ())
        if reading.revision == state.key
    )
    mine = [one for one in fleet.replicas if one.revision == state.key and one.phase in {"starting", "ready"}]
    ready = [one for one in mine if one.phase == "ready"]
    in_flight = max(events.in_flight + requests.in_flight, sum(sight.used.get(one.id, 0) for one in ready))
    serving = state.key in sight.backends
    waiting = max(requests.waiting, _wanted(fleet, state.key, "gateway")) if serving else 0
    waiting_events = max(events.lag, _wanted(fleet, state.key, "proxy")) if serving else events.lag
    meter, rates = step(
        meter,
        _counts(fleet, state, subscriptions),
        in_flight=in_flight,
        waiting=waiting > 0 or waiting_events > events.in_flight,
        now=now,
    )
    load = Load(
        lag=waiting_events,
        runnable=events.runnable,
        events=events.in_flight,
        in_flight=in_flight,
        waiting=waiting,
        arrived=rates.arrived,
        event_rate=rates.event_rate,
        request_rate=rates.request_rate,
        handler_seconds=_handler_seconds(events, requests, rates),
        credit=max(state.credit or _concurrency(state), 1),
        ready=len(ready),
        starting=max(len(mine), state.wanted) - len(ready),
        idle=sum(1 for one in ready if not sight.used.get(one.id)),
        blind=sight.blind or _unread(subscriptions, sight) or events.blind,
        age=sight.age,
    )
    return meter, load


def _wanted(fleet: Fleet, revision: RevisionKey, role: str) -> int:
    """Work that agents of *role* say waits for a revision without an endpoint."""
    return sum(
        agent.wants[revision].waiting
        for agent in fleet.agents.values()
        if agent.role == role and revision in agent.wants
    )


def _whose(subscription: Subscription, reading: TriggerReading) -> RevisionKey:
    """The serving revision that *reading* speaks of: its own, or the newest where its owner has an older snapshot."""
    revisions = [backend.revision for backend in subscription.backends]
    return reading.revision if reading.revision in revisions else max(revisions)


def _unread(subscriptions: Sequence[Subscription], sight: _Sight) -> str:
    unread = next((one for one in subscriptions if one.key not in sight.triggers), None)
    return f"no proxy reads {unread.trigger or unread.key.name}" if unread is not None else ""


def _counts(fleet: Fleet, state: RevisionState, subscriptions: Collection[Subscription]) -> dict[str, Count]:
    keys = {one.key for one in subscriptions}
    counts = {}
    for name, agent in fleet.agents.items():
        for trigger in agent.readings.triggers if agent.readings else ():
            if trigger.subscription in keys:
                name_of = f"{name}/{agent.boot_id}/{trigger.epoch}/{trigger.subscription}"
                counts[name_of] = Count(trigger.arrived, trigger.done)
        for route in agent.readings.routes if agent.readings else ():
            if route.revision == state.key:
                counts[f"{name}/{agent.boot_id}/routes"] = Count(route.arrived, route.done, requests=True)
    return counts


def _handler_seconds(events: lag.Lag, requests: inflight.InFlight, rates: Rates) -> float:
    return max(events.handler_seconds, requests.handler_seconds, rates.handler_seconds)


def _concurrency(state: RevisionState) -> int:
    return state.workload.concurrency if state.workload is not None else 1


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
