"""Events that would go round for ever: an output that leads back to the function that sends it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from api.kinds.events import TriggerSpec
from api.kinds.openfunction import FunctionSpec
from api.kinds.sources import EventSourceSpec
from api.structure import Fault
from api.tree import Path

Place: TypeAlias = tuple[str, ...]
"""("function", namespace, name) or ("subject", namespace, bus, topic)."""


ALLOW = "evoke.dev/allow-loop"
"""Annotation, "true" on a resource that sends events round on purpose; the hop limit of the proxy still ends them."""


class Member(msgspec.Struct, frozen=True):
    """One resource as the search sees it."""

    namespace: str
    name: str
    spec: Any
    may_loop: bool = False
    """A loop through it is meant."""


def may_loop(annotations: Mapping[str, str] | None) -> bool:
    return (annotations or {}).get(ALLOW) == "true"


HINT = f'send to another topic, or annotate {ALLOW}: "true" if that is meant'


class _Edge(msgspec.Struct, frozen=True):
    to: Place
    member: int
    path: Path


def loops(members: Sequence[Member]) -> Iterator[tuple[int, Fault]]:
    """(index of a member, E124) once for each loop: at its first member, at an output of that where it has one."""
    edges: dict[Place, list[_Edge]] = defaultdict(list)
    for index, member in enumerate(members):
        if member.may_loop:
            continue
        for start, edge in _edges(index, member):
            edges[start].append(edge)
    circle = _components(edges)
    closing: dict[int, list[_Edge]] = defaultdict(list)
    for start, leaving in edges.items():
        for edge in leaving:
            if start in circle and circle[start] == circle.get(edge.to):
                closing[circle[start]].append(edge)
    for number, found in closing.items():
        first = min(found, key=lambda edge: (edge.member, edge.to[0] != "subject"))
        names = " -> ".join(dict.fromkeys(place[-1] for place, mine in circle.items() if mine == number))
        yield first.member, Fault("E124", first.path, f"events would go round for ever: {names}; {HINT}")


def _edges(index: int, member: Member) -> Iterator[tuple[Place, _Edge]]:
    spec, namespace = member.spec, member.namespace
    if isinstance(spec, FunctionSpec) and spec.serving is not None:
        here = ("function", namespace, member.name)
        for number, output in enumerate(spec.serving.outputs):
            if output.dapr.topic:
                subject = ("subject", namespace, output.dapr.name, output.dapr.topic)
                yield here, _Edge(subject, index, ("serving", "outputs", number, "dapr", "topic"))
        for number, trigger in enumerate(spec.serving.triggers.dapr if spec.serving.triggers else ()):
            if trigger.topic:
                subject = ("subject", namespace, trigger.name, trigger.topic)
                yield subject, _Edge(here, index, ("serving", "triggers", "dapr", number, "topic"))
    if isinstance(spec, TriggerSpec):
        yield from _trigger_edges(index, member, spec)
    if isinstance(spec, EventSourceSpec) and spec.sink and spec.sink.ref:
        for kind in ("kafka", "redis", "cron", "mqtt", "nats", "http"):
            for event in getattr(spec, kind):
                subject = ("subject", namespace, spec.event_bus, f"{namespace}.{member.name}.{event}")
                yield subject, _Edge(("function", namespace, spec.sink.ref.name), index, ("sink",))


def _trigger_edges(index: int, member: Member, spec: TriggerSpec) -> Iterator[tuple[Place, _Edge]]:
    namespace = member.namespace
    for given in spec.inputs.values():
        subject = ("subject", namespace, spec.event_bus, f"{namespace}.{given.event_source}.{given.event}")
        for number, subscriber in enumerate(spec.subscribers):
            where: Path = ("subscribers", number)
            if subscriber.sink and subscriber.sink.ref:
                yield subject, _Edge(("function", namespace, subscriber.sink.ref.name), index, (*where, "sink"))
            if subscriber.topic:
                target = ("subject", namespace, spec.event_bus, subscriber.topic)
                yield subject, _Edge(target, index, (*where, "topic"))


def _components(edges: Mapping[Place, Iterable[_Edge]]) -> dict[Place, int]:
    """Places that lie on a loop -> number of their strongly connected component (Tarjan, without recursion)."""
    order: dict[Place, int] = {}
    low: dict[Place, int] = {}
    stack: list[Place] = []
    on_stack: set[Place] = set()
    found: dict[Place, int] = {}
    for root in list(edges):
        if root in order:
            continue
        work = [(root, iter(edges.get(root, ())))]
        order[root] = low[root] = len(order)
        stack.append(root)
        on_stack.add(root)
        while work:
            place, leaving = work[-1]
            for edge in leaving:
                if edge.to not in order:
                    order[edge.to] = low[edge.to] = len(order)
                    stack.append(edge.to)
                    on_stack.add(edge.to)
                    work.append((edge.to, iter(edges.get(edge.to, ()))))
                    break
                if edge.to in on_stack:
                    low[place] = min(low[place], order[edge.to])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[place])
                if low[place] == order[place]:
                    _close(place, stack, on_stack, edges, found)
    return found


def _close(
    place: Place,
    stack: list[Place],
    on_stack: set[Place],
    edges: Mapping[Place, Iterable[_Edge]],
    found: dict[Place, int],
) -> None:
    members = []
    while True:
        member = stack.pop()
        on_stack.discard(member)
        members.append(member)
        if member == place:
            break
    if len(members) > 1 or any(edge.to == place for edge in edges.get(place, ())):
        number = len(set(found.values()))
        found.update(dict.fromkeys(reversed(members), number))
