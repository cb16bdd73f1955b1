"""Events that would go round for ever: an output, topic or dead letter that leads back to where it came from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from api.consistency import flows
from api.consistency.circles import circles, way
from api.consistency.flows import Flow, Place
from api.structure import Fault

ALLOW = "evoke.dev/allow-loop"
"""Annotation, "true" on a resource that sends events round on purpose; the hop limit of the proxy still ends them."""
HINT = f'send to another topic, or annotate {ALLOW}: "true" if that is meant'


class Member(msgspec.Struct, frozen=True):
    """One resource as the search sees it."""

    namespace: str
    name: str
    spec: Any
    may_loop: bool = False
    """A loop through it is meant."""


def may_loop(annotations: Mapping[str, str] | None) -> bool:
    return (annotations or {}).get(ALLOW) == "true"


def loops(members: Sequence[Member]) -> Iterator[tuple[int, Fault]]:
    """(index of a member, E124) once for each loop: at its first member, at an output of that where it has one."""
    known = {place: topic for one in members for place, topic in flows.letters(one.namespace, one.name, one.spec)}
    found = [
        (index, flow)
        for index, one in enumerate(members)
        if not one.may_loop
        for flow in flows.flows(one.namespace, one.name, one.spec, known)
    ]
    edges: dict[Place, list[Place]] = defaultdict(list)
    for _, flow in found:
        edges[flow.start].append(flow.end)
    circle = circles(edges)
    closing: dict[int, list[tuple[int, Flow]]] = defaultdict(list)
    for index, flow in found:
        if flow.start in circle and circle[flow.start] == circle.get(flow.end):
            closing[circle[flow.start]].append((index, flow))
    for inside in closing.values():
        index, flow = min(inside, key=lambda one: (one[0], one[1].end[0] != "subject"))
        round_trip = [flow.start, *way(edges, flow.end, flow.start)]
        names = " -> ".join(place[-1] for place in round_trip)
        yield index, Fault("E124", flow.path, f"events would go round for ever: {names}; {HINT}")
