"""What a fleet's readings say of each revision: one Load per revision, and why it may not be all there is; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Protocol

import msgspec

from api.actions import RevisionState
from api.frames import Readings, RouteReading, TriggerReading, Want
from api.meta import Key, RevisionKey
from api.model import Replica, Snapshot, Subscription
from proxy.dapr.streams import CREDIT
from triggers.load import Load
from triggers.rates import Count, Meter, Rates, step
from triggers.scalers import inflight, lag

WARM_UP = 30.0
"""Seconds after the start in which an agent that has not spoken keeps everybody from scaling in."""


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
    """All that scaling may see; times are monotonic seconds."""

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


class Sight(msgspec.Struct, kw_only=True):
    """The readings of all agents, sorted once by what they are about."""

    blind: str
    """Why something may be out of sight; empty: nothing is."""
    age: timedelta
    """Of the oldest reading."""
    backends: dict[RevisionKey, list[Subscription]] = {}
    """Serving revision -> its subscriptions; one that only has routes stands here with none."""
    triggers: dict[Key, TriggerReading] = {}
    routes: dict[RevisionKey, list[RouteReading]] = {}
    counts: dict[Key | RevisionKey, dict[str, Count]] = {}
    """Counters of a subscription or of a revision's routes, named by agent and boot."""
    used: dict[str, int] = {}
    """Replica -> in flight, over all agents."""
    alive: dict[RevisionKey, list[Replica]] = {}
    """Replicas that start or are ready."""
    wants: dict[tuple[RevisionKey, str], int] = {}
    """Revision and role -> work that is said to wait without an endpoint."""


def look(fleet: Fleet, seen: Mapping[str, float], now: float) -> Sight:
    """Sort the readings; *seen* names agents that were here lately."""
    heard = [agent.received for agent in fleet.agents.values() if agent.readings is not None]
    sight = Sight(blind=_unsettled(fleet, seen, now), age=timedelta(seconds=max(0.0, now - min(heard, default=now))))
    for snapshot in fleet.snapshots:
        for route in snapshot.routes:
            for backend in route.backends:
                sight.backends.setdefault(backend.revision, [])
        for subscription in snapshot.subscriptions:
            for backend in subscription.backends:
                sight.backends.setdefault(backend.revision, []).append(subscription)
    for name, agent in fleet.agents.items():
        _hear(sight, f"{name}/{agent.boot_id}", agent)
    for replica in fleet.replicas:
        if replica.phase in {"starting", "ready"}:
            sight.alive.setdefault(replica.revision, []).append(replica)
    readings = (agent.readings for agent in fleet.agents.values() if agent.readings is not None)
    newest = lag.newest(reading for one in readings for reading in one.triggers)
    sight.triggers = {reading.subscription: reading for reading in newest}
    return sight


def _hear(sight: Sight, name: str, agent: Agent) -> None:
    for revision, want in agent.wants.items():
        key = (revision, agent.role)
        sight.wants[key] = sight.wants.get(key, 0) + want.waiting
    if agent.readings is None:
        return
    for trigger in agent.readings.triggers:
        counts = sight.counts.setdefault(trigger.subscription, {})
        counts[f"{name}/{trigger.epoch}/{trigger.subscription}"] = Count(trigger.arrived, trigger.done)
    for route in agent.readings.routes:
        sight.routes.setdefault(route.revision, []).append(route)
        sight.counts.setdefault(route.revision, {})[name] = Count(route.arrived, route.done, requests=True)
    for replica, count in agent.readings.used.items():
        sight.used[replica] = sight.used.get(replica, 0) + count


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


def load(sight: Sight, state: RevisionState, meter: Meter, now: float) -> tuple[Meter, Load]:
    """What is seen of one revision, with rates out of *meter* and the meter for the next look.

    Work that waits wakes a serving revision only; a retired one is seen for what it still has in flight.
    """
    serving = state.key in sight.backends
    subscriptions = sight.backends.get(state.key, [])
    events = lag.read(_readings(sight, state.key, subscriptions))
    requests = inflight.read(sight.routes.get(state.key, ()))
    alive = sight.alive.get(state.key, [])
    ready = [one for one in alive if one.phase == "ready"]
    in_flight = max(events.in_flight + requests.in_flight, sum(sight.used.get(one.id, 0) for one in ready))
    waiting = max(requests.waiting, sight.wants.get((state.key, "gateway"), 0)) if serving else 0
    behind = max(events.lag, sight.wants.get((state.key, "proxy"), 0)) if serving else events.lag
    meter, rates = step(
        meter,
        _counts(sight, state.key, subscriptions),
        in_flight=in_flight,
        waiting=waiting > 0 or behind > events.in_flight,
        now=now,
    )
    return meter, Load(
        lag=behind,
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
        starting=max(len(alive), state.wanted) - len(ready),
        idle=sum(1 for one in ready if not sight.used.get(one.id)),
        blind=sight.blind or _unread(subscriptions, sight) or events.blind,
        age=sight.age,
    )


def _readings(sight: Sight, revision: RevisionKey, subscriptions: Sequence[Subscription]) -> list[TriggerReading]:
    """Readings of *subscriptions* that speak of *revision*."""
    found = [(one, sight.triggers[one.key]) for one in subscriptions if one.key in sight.triggers]
    return [reading for one, reading in found if _whose(one, reading) == revision]


def _whose(subscription: Subscription, reading: TriggerReading) -> RevisionKey:
    """The serving revision that *reading* speaks of: its own, or the newest where its owner has an older snapshot."""
    revisions = [backend.revision for backend in subscription.backends]
    return reading.revision if reading.revision in revisions else max(revisions)


def _unread(subscriptions: Sequence[Subscription], sight: Sight) -> str:
    unread = next((one for one in subscriptions if one.key not in sight.triggers), None)
    return f"no proxy reads {unread.trigger or unread.key.name}" if unread is not None else ""


def _counts(sight: Sight, revision: RevisionKey, subscriptions: Sequence[Subscription]) -> dict[str, Count]:
    found: dict[str, Count] = {}
    keys: list[Key | RevisionKey] = [revision, *(one.key for one in subscriptions)]
    for key in keys:
        found.update(sight.counts.get(key, {}))
    return found


def _handler_seconds(events: lag.Lag, requests: inflight.InFlight, rates: Rates) -> float:
    return max(events.handler_seconds, requests.handler_seconds, rates.handler_seconds)


def _concurrency(state: RevisionState) -> int:
    """What nobody has told yet, or never will: an app that listens nowhere takes its events by streams."""
    if state.workload is None:
        return 1
    return state.workload.concurrency or (CREDIT if state.workload.host == "command" else 1)
