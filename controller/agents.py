"""What connected proxies and gateways report, as facts for the planner; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from api.actions import Kill
from api.frames import Readings, StreamReading
from api.meta import Key
from api.model import AppSubscription, Replica


class Agent(Protocol):
    """What is read of replicas.server.AgentState."""

    @property
    def role(self) -> str: ...

    @property
    def readings(self) -> Readings | None: ...


def facts(agents: Mapping[str, Agent]) -> dict[str, Any]:
    """Fields *agents*, *buses*, *sources*, *components*, *streams* and *subscriptions* of api.actions.Observed."""
    readings = [agent.readings for agent in agents.values() if agent.readings is not None]
    return {
        "agents": {name: agent.role for name, agent in agents.items()},
        "buses": _worst(
            (one.bus, "" if one.connected else _reason(one.reason or "Unreachable", one.message))
            for reading in readings
            for one in reading.buses
        ),
        "sources": _worst(
            (one.source, _reason(one.reason or "Unreachable", one.message) if one.reason or not one.connected else "")
            for reading in readings
            for one in reading.sources
        ),
        "components": _worst(
            (one.component, "" if one.connected else _reason(one.reason or "Unreachable", one.message))
            for reading in readings
            for one in reading.components
        ),
        "streams": _streams(one for reading in readings for one in reading.streams),
        "subscriptions": _worst(
            (one.subscription, _reason(one.condition, one.last_error) if one.condition else "")
            for reading in readings
            for one in reading.triggers
        ),
    }


def kills(agents: Mapping[str, Agent], replicas: Iterable[Replica]) -> tuple[Kill, ...]:
    """The end of every replica that an agent says is stuck in a handler past its deadline."""
    stuck = {one for agent in agents.values() if agent.readings is not None for one in agent.readings.stuck}
    found = tuple(sorted(one.id for one in replicas if one.id in stuck))
    return (Kill(replicas=found, reason="Timeout: a handler runs past its deadline"),) if found else ()


def _worst(reports: Iterable[tuple[Key, str]]) -> dict[str, str]:
    """One word per thing: what any agent complains of outweighs the others' silence."""
    found: dict[str, str] = {}
    for key, word in reports:
        found[str(key)] = found.get(str(key)) or word
    return found


def _streams(told: Iterable[StreamReading]) -> dict[str, tuple[AppSubscription, ...]]:
    found: dict[str, dict[tuple[str, str], AppSubscription]] = {}
    for one in told:
        asked = one.subscription
        found.setdefault(str(one.function), {})[asked.pubsub, asked.topic] = asked
    return {function: tuple(asked[place] for place in sorted(asked)) for function, asked in sorted(found.items())}


def _reason(reason: str, message: str) -> str:
    return f"{reason}: {message}"
