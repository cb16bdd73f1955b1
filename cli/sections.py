"""The sections of `evoke describe`, from a resource and the facts known of it; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from cli import output, wording

Facts = Mapping[str, Any]
Cell = Callable[[Facts, datetime], object]


def field(name: str, default: object = None) -> Cell:
    return lambda one, _now: one.get(name, default)


def since(name: str) -> Cell:
    return lambda one, now: wording.age(one.get(name), now)


def _traffic(one: Facts, _now: datetime) -> object:
    return f"{one['traffic']} %" if one.get("traffic") else ""


def _subscription(one: Facts, _now: datetime) -> object:
    key = one.get("subscription")
    return key.get("name") if isinstance(key, Mapping) else key


def _trouble(one: Facts, _now: datetime) -> object:
    return one.get("condition") or one.get("blind") or one.get("last_error")


TABLES: dict[str, dict[str, Cell]] = {
    "conditions": {
        "CONDITION": field("type"),
        "STATUS": field("status"),
        "REASON": field("reason"),
        "SINCE": since("lastTransitionTime"),
        "MESSAGE": field("message"),
    },
    "revisions": {
        "REVISION": field("name"),
        "READY": field("ready"),
        "REPLICAS": field("replicas"),
        "TRAFFIC": _traffic,
        "AGE": since("created"),
        "PROBLEM": field("problem"),
    },
    "replicas": {
        "REPLICA": field("id"),
        "REVISION": field("revision"),
        "PHASE": field("phase"),
        "IN-FLIGHT": field("in_flight"),
        "PID": field("pid"),
        "AGE": since("since"),
    },
    "subscriptions": {
        "SUBSCRIPTION": _subscription,
        "LAG": field("lag", 0),
        "IN-FLIGHT": field("in_flight", 0),
        "PARKED": field("parked", 0),
        "DONE": field("done", 0),
        "FAILED": field("failed", 0),
        "DEAD": field("dead", 0),
        "PROBLEM": _trouble,
    },
}
"""Field of the facts -> title -> how a row's cell is read."""


def text(resource: Facts, facts: Facts, now: datetime) -> list[str]:
    """All sections, an empty line between two."""
    sections = [table(name, facts, now) for name in TABLES]
    sections += [scaling(facts), about(resource, facts, now), next_step(resource, facts)]
    lines: list[str] = []
    for section in filter(None, sections):
        lines += ["", *section] if lines else section
    return lines


def table(name: str, facts: Facts, now: datetime) -> list[str]:
    columns = TABLES[name]
    rows = [[read(one, now) for read in columns.values()] for one in facts.get(name) or ()]
    return output.table(list(columns), rows) if rows else []


def scaling(facts: Facts) -> list[str]:
    """The last decision, its limiter and its inputs."""
    decision: Facts = facts.get("scaling") or {}
    if not decision:
        return []
    limiter = decision.get("limiter", "none")
    limited = f"; limited by {limiter}" if limiter != "none" else ""
    said = [f"scaling    {decision.get('desired', '-')} wanted: {decision.get('because') or 'nothing waits'}{limited}"]
    inputs = {name: value for name, value in (decision.get("inputs") or {}).items() if value not in (0, "", None)}
    if inputs:
        words = ", ".join(f"{name.replace('_', ' ')} {number(value)}" for name, value in inputs.items())
        said.append(f"inputs     {words}")
    return said


def number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def about(resource: Facts, facts: Facts, now: datetime) -> list[str]:
    meta = resource["metadata"]
    cold = facts.get("cold_start_ms")
    addresses = [one.get("value") for one in facts.get("addresses") or ()]
    known = {
        "app": app(facts.get("app") or {}),
        "url": facts.get("url") or ", ".join(filter(None, addresses)),
        "cold start": f"{cold:.0f} ms" if cold else None,
        "labels": output.labels(meta.get("labels") or {}),
        "created": f"{wording.age(meta.get('creationTimestamp'), now)} ago, generation {meta.get('generation')}",
    }
    return [f"{name:<10} {value}" for name, value in known.items() if value]


def app(facts: Facts) -> str:
    """How Dapr's API knows an app in any language, and where it finds that API; empty: it is handlers of ours."""
    if not facts:
        return ""
    return f"{facts['id']} over {facts['protocol']}; its Dapr API: http {facts['http']}, gRPC {facts['grpc']}"


def next_step(resource: Facts, facts: Facts) -> list[str]:
    """The command that helps on, where one does."""
    name = resource["metadata"]["name"]
    reason = wording.condition(facts).get("reason")
    if reason in {"HandlerError", "CrashLoop", "OutOfMemory", "StartTimeout", "DeclarationInvalid"}:
        return [f"next       evoke logs {name} --previous"]
    if reason in {"BuildFailed", "BuildTimeout"}:
        return [f"next       evoke logs {name} --build"]
    return [f"next       evoke dead-letters list {name}"] if facts.get("deadLetters") else []
