"""What the API says about one function beyond its resource: revisions, replicas, scaling, subscriptions."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from api.frames import RouteReading, TriggerReading
from api.meta import Key, RevisionKey
from api.model import Backend, Route, Subscription
from controller.local.forks import Running
from controller.local.letters import Letters
from controller.local.revisions import Record, Revisions
from controller.local.sqlite import Stored
from controller.local.substrate import ColdStarts, LocalSubstrate
from controller.loop import Loop
from replicas.server import AgentState, ControlServer

_SPAN = 5.0
"""Seconds over which a rate is measured."""


class Rates:
    """Work done per second and function, from the agents' counters."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, dict[tuple[str, str], dict[Key, int]]]] = deque()

    def sample(self, agents: Mapping[str, AgentState], now: float) -> None:
        """Take the counters at monotonic *now*; at most one sample a second is kept."""
        if self._samples and now - self._samples[-1][0] < 1.0:
            return
        self._samples.append((now, {(one.name, one.boot_id): _done(one) for one in agents.values()}))
        while self._samples[0][0] < now - _SPAN:
            self._samples.popleft()

    def of(self, function: Key) -> float:
        """Events and requests done per second; an agent that restarted counts from its start."""
        if len(self._samples) < 2:
            return 0.0
        (began, first), (ended, last) = self._samples[0], self._samples[-1]
        done = sum(counts.get(function, 0) - first.get(boot, {}).get(function, 0) for boot, counts in last.items())
        return max(done, 0) / (ended - began)


class Functions:
    """Views over revisions, replicas and readings."""

    def __init__(
        self, revisions: Revisions, substrate: LocalSubstrate, control: ControlServer, loop: Loop, letters: Letters
    ) -> None:
        self._revisions, self._substrate, self._control, self._loop = revisions, substrate, control, loop
        self._letters = letters
        self.rates = Rates()

    async def status(self, stored: Stored) -> dict[str, Any]:
        """Body of GET /v1/functions/{ns}/{name}/status."""
        function = stored.key
        records = [record for record in self._revisions.all() if record.key.function_key == function]
        triggers, routes = self._triggers(function), self._routes(function)
        newest = self._serving(function) or (records[-1].key if records else None)
        explanation = self._loop.explanations.get(newest) if newest else None
        letters = await self._letters.count(function) if triggers else 0
        cold = self._substrate.cold_starts.get(function, ColdStarts())
        return {
            "conditions": stored.status.get("conditions", []),
            "revisions": [self._revision(record) for record in records],
            "replicas": self._replicas(function),
            "scaling": _scaling(explanation) if explanation else stored.status.get("scaling", {}),
            "subscriptions": triggers,
            "routes": routes,
            "deadLetters": sum(reading.dead for reading in triggers) if letters is None else letters,
            "url": self._url(stored),
            "app": self._app(function, records),
            "cold_start_ms": cold.last_ms,
            "cold_starts": cold.count,
        }

    def top(self, functions: Iterable[Stored]) -> list[dict[str, Any]]:
        """Rows of GET /v1/top."""
        return [self._row(stored.key) for stored in functions]

    def wakes(self, function: Key) -> RevisionKey | None:
        """The revision that a wake-up by hand is for: the one that gets traffic, else the newest that was checked."""
        serving = self._serving(function)
        checked = [one.key for one in self._revisions.all() if one.key.function_key == function and one.descriptor]
        return serving or (checked[-1] if checked else None)

    def living(self, function: Key) -> frozenset[str]:
        """Ids of the replicas that run."""
        return frozenset(replica.id for replica in self._of(function))

    def _row(self, function: Key) -> dict[str, Any]:
        triggers, routes = self._triggers(function), self._routes(function)
        replicas = self._of(function)
        used = self._used()
        return {
            "namespace": function.namespace,
            "function": function.name,
            "replicas": sum(1 for replica in replicas if replica.phase == "ready"),
            "in_flight": sum(used.get(replica.id, 0) for replica in replicas),
            "lag": sum(one.lag for one in triggers) + sum(one.waiting for one in routes),
            "rate": round(self.rates.of(function), 1),
            "p50_ms": max((one.wait_p50_ms for one in triggers), default=0.0),
            "p99_ms": max((one.wait_p99_ms for one in triggers), default=0.0),
            "done": sum(one.done for one in triggers) + sum(one.done for one in routes),
            "dead": sum(one.dead for one in triggers),
        }

    def _app(self, function: Key, records: Sequence[Record]) -> dict[str, Any] | None:
        """How the Dapr API knows an app in any language, and where it finds that API; None: handlers of ours."""
        if not records or records[-1].workload.host != "command":
            return None
        listener, known = self._substrate.listeners.of(function), self._substrate.app(function)
        return {
            "id": known.id if known is not None else function.name,
            "protocol": records[-1].workload.protocol,
            "http": listener.http,
            "grpc": listener.grpc,
        }

    def _revision(self, record: Record) -> dict[str, Any]:
        ready = [one for one in self._substrate.replicas.of(record.key) if one.phase == "ready"]
        return {
            "name": record.key.revision,
            "ready": record.descriptor is not None and not record.problem,
            "replicas": len(ready),
            "created": record.created,
            "traffic": self._traffic(record.key),
            "handlers": record.descriptor.handlers if record.descriptor else [],
            "problem": f"{record.problem}: {record.message}" if record.problem else "",
        }

    def _replicas(self, function: Key) -> list[dict[str, Any]]:
        used = self._used()
        return [
            {
                "id": replica.id,
                "revision": replica.revision.revision,
                "phase": replica.phase,
                "in_flight": used.get(replica.id, 0),
                "pid": replica.pid,
                "address": self._substrate.replicas.address(replica),
                "since": replica.since,
                "start_ms": round(replica.start_ms, 1),
            }
            for replica in self._of(function)
        ]

    def _of(self, function: Key) -> list[Running]:
        return [one for one in self._substrate.replicas.all() if one.revision.function_key == function]

    def _used(self) -> dict[str, int]:
        used: dict[str, int] = {}
        for agent in self._control.agents.values():
            for replica, count in (agent.readings.used if agent.readings else {}).items():
                used[replica] = used.get(replica, 0) + count
        return used

    def _triggers(self, function: Key) -> list[TriggerReading]:
        return [
            one
            for agent in self._control.agents.values()
            for one in (agent.readings.triggers if agent.readings else ())
            if one.revision.function_key == function
        ]

    def _routes(self, function: Key) -> list[RouteReading]:
        return [
            one
            for agent in self._control.agents.values()
            for one in (agent.readings.routes if agent.readings else ())
            if one.revision.function_key == function
        ]

    def _backends(self, function: Key) -> list[Backend]:
        snapshot = self._loop.snapshots.get(function.namespace)
        if snapshot is None:
            return []
        holders: list[Route | Subscription] = [*snapshot.routes, *snapshot.subscriptions]
        return [one for holder in holders for one in holder.backends if one.revision.function_key == function]

    def _traffic(self, revision: RevisionKey) -> int:
        return max((one.weight for one in self._backends(revision.function_key) if one.revision == revision), default=0)

    def _serving(self, function: Key) -> RevisionKey | None:
        return max((one.revision for one in self._backends(function) if one.weight), default=None)

    def _url(self, stored: Stored) -> str | None:
        addresses = stored.status.get("addresses") or []
        found = next((one.get("value") for one in addresses if isinstance(one, dict)), None)
        return found or stored.status.get("url")


def _done(agent: AgentState) -> dict[Key, int]:
    counts: dict[Key, int] = {}
    readings: list[TriggerReading | RouteReading] = []
    if agent.readings is not None:
        readings = [*agent.readings.triggers, *agent.readings.routes]
    for one in readings:
        counts[one.revision.function_key] = counts.get(one.revision.function_key, 0) + one.done
    return counts


_INPUTS = ("in_flight", "lag", "waiting", "runnable", "event_rate", "request_rate", "handler_ms", "credit", "idle")


def _scaling(explanation: msgspec.Struct) -> dict[str, Any]:
    """An Explanation with its inputs in one object."""
    plain = msgspec.structs.asdict(explanation)
    inputs = {name: plain.pop(name) for name in _INPUTS}
    left = plain.pop("next_change")
    return {**plain, "next_change": left.total_seconds() if left is not None else None, "inputs": inputs}
