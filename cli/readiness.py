"""The first line about each resource after `evoke up` or `evoke deploy`: what it is and whether it is ready; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from cli import kinds, narrate, wording

Resource = Mapping[str, Any]

TRANSIENT = frozenset(
    {"Building", "Starting", "Unassigned", "NoGateway", "Draining", "BusNotFound", "BusUnreachable", "Unreachable"}
)
"""False for now: what a start passes through."""

SOURCES = ("mqtt", "kafka", "redis", "cron", "nats", "http")
TARGETS = ("topic", "schedule", "subject", "path", "host")
"""Field of an event source's entry that says what it listens to."""


def in_order(names: Iterable[str]) -> list[str]:
    """``kind/name`` sorted as work flows: buses, sources, triggers, functions."""
    flow = ("eventbus", "clustereventbus", "component", "eventsource", "trigger", "builder", "function")
    kind = {name: name.partition("/")[0] for name in names}
    return sorted(kind, key=lambda name: (flow.index(kind[name]) if kind[name] in flow else len(flow), name))


def settled(resource: Resource) -> bool:
    """Ready, or False for a reason that waiting does not change."""
    ready = wording.condition(resource.get("status") or {})
    seen = (ready.get("observedGeneration") or 0) >= (resource["metadata"].get("generation") or 0)
    return seen and (
        ready.get("status") == "True" or (ready.get("status") == "False" and ready["reason"] not in TRANSIENT)
    )


def building(resource: Resource) -> bool:
    """On its way, and nothing but time is missing."""
    return wording.condition(resource.get("status") or {}).get("reason") in {"Building", "Starting"}


def line(resource: Resource, function: Resource | None = None) -> str:
    """``function/on-reading     ready    revision 00001, 0 replicas (starts on the first event)``"""
    ready = wording.condition(resource.get("status") or {})
    name = wording.name_of(resource)
    if ready.get("status") == "True":
        return narrate.resource_line(name, "ready", about(resource, function))
    word = "problem" if ready.get("status") == "False" else "waiting"
    said = ": ".join(part for part in (ready.get("reason"), ready.get("message")) if part)
    return narrate.resource_line(name, word, said)


def about(resource: Resource, function: Resource | None = None) -> str:
    """What a ready resource is, in a few words."""
    spec, status = resource.get("spec") or {}, resource.get("status") or {}
    match resource["kind"].lower():
        case "function":
            return function_words(spec, function or status)
        case "eventsource":
            return source_words(spec)
        case "trigger":
            return trigger_words(spec)
        case kind if kind in kinds.ALIASES:
            return str(wording.condition(status, "Connected").get("message") or "")
    return ""


def function_words(spec: Resource, status: Resource) -> str:
    """``revision 00001, 0 replicas (starts on the first event)``"""
    revisions: Sequence[Any] = status.get("revisions") or ()
    newest = max((str(one["name"]) for one in revisions), default=str(status.get("revision") or "00001"))
    running = sum(1 for one in status.get("replicas") or () if one.get("phase") == "ready")
    triggers = (spec.get("serving") or {}).get("triggers") or {}
    first = "request" if "http" in triggers and "dapr" not in triggers else "event"
    rest = f" (starts on the first {first})" if running == 0 else ""
    return f"revision {newest.rpartition('-')[2]}, {wording.counted(running, 'replica')}{rest}"


def source_words(spec: Resource) -> str:
    """``mqtt sensors/# -> function/on-reading, through eventbus/default``"""
    bus = f"eventbus/{spec.get('eventBus') or 'default'}"
    taken = []
    for kind in SOURCES:
        entries = spec.get(kind)
        if isinstance(entries, Mapping):
            taken += [f"{kind} {listens_to(name, entry or {})}" for name, entry in entries.items()]
    receivers = list(receiver_words(spec))
    if not receivers:
        return f"{', '.join(taken)} -> {bus}"
    return f"{', '.join(taken)} -> {', '.join(receivers)}, through {bus}"


def listens_to(name: str, entry: Resource) -> str:
    return next((str(entry[field]) for field in TARGETS if entry.get(field)), name)


def trigger_words(spec: Resource) -> str:
    """``readings/sensors -> function/on-reading, topic/next``"""
    inputs = [f"{one.get('eventSource', '')}/{one.get('event', '')}" for one in (spec.get("inputs") or {}).values()]
    receivers = [word for one in spec.get("subscribers") or () for word in receiver_words(one)]
    return f"{', '.join(inputs)} -> {', '.join(dict.fromkeys(receivers))}"


def receiver_words(subscriber: Resource) -> Iterator[str]:
    """Who gets the events of a subscriber; of an address the host only, what follows may be a token."""
    sink = subscriber.get("sink") or {}
    if ref := sink.get("ref"):
        yield f"{str(ref.get('kind', 'function')).lower()}/{ref.get('name', '')}"
    if uri := sink.get("uri"):
        yield urlsplit(uri).netloc
    if topic := subscriber.get("topic"):
        yield f"topic/{topic}"
