"""Circles in a graph: which edges lie on one, and the way round; knows nothing of what the places are."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from typing import TypeVar

Place = TypeVar("Place", bound=Hashable)


def circles(edges: Mapping[Place, Iterable[Place]]) -> dict[Place, int]:
    """Places that lie on a circle -> number of their strongly connected component (Tarjan, without recursion)."""
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
            for to in leaving:
                if to not in order:
                    order[to] = low[to] = len(order)
                    stack.append(to)
                    on_stack.add(to)
                    work.append((to, iter(edges.get(to, ()))))
                    break
                if to in on_stack:
                    low[place] = min(low[place], order[to])
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
    edges: Mapping[Place, Iterable[Place]],
    found: dict[Place, int],
) -> None:
    members: list[Place] = []
    while not members or members[-1] != place:
        members.append(stack.pop())
        on_stack.discard(members[-1])
    if len(members) > 1 or place in edges.get(place, ()):
        number = len(set(found.values()))
        found.update(dict.fromkeys(reversed(members), number))


def way(edges: Mapping[Place, Iterable[Place]], start: Place, end: Place) -> list[Place]:
    """The shortest way from *start* to *end*, both in it; empty: there is none."""
    before: dict[Place, Place] = {}
    seen, queue = {start}, deque([start])
    while queue:
        place = queue.popleft()
        if place == end:
            found = [place]
            while found[-1] != start:
                found.append(before[found[-1]])
            return found[::-1]
        for to in edges.get(place, ()):
            if to not in seen:
                seen.add(to)
                before[to] = place
                queue.append(to)
    return []
