"""Events that would go round: every way they can take, and ways that only look like it."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.consistency.circles import circles, way
from api.documents import read
from api.errors import InvalidInput, Problem

SOURCE = """\
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: plant}
spec: {mqtt: {readings: {topic: r}, alarms: {topic: a}}SINK}
"""


def function(name: str, *, reads: str = "", sends: str = "", dead: str = "") -> str:
    lines = [
        "apiVersion: core.openfunction.io/v1beta2",
        "kind: Function",
        f"metadata: {{name: {name}}}",
        "spec:",
        "  build: {srcRepo: {url: .}}",
        "  serving:",
        f"    triggers: {{dapr: [{{name: default, topic: {reads}}}]}}" if reads else "    triggers: {}",
    ]
    lines += [f"    outputs: [{{dapr: {{name: default, topic: {sends}}}}}]"] if sends else []
    lines += [f"    delivery: {{deadLetter: {dead}}}"] if dead else []
    return "\n".join(lines) + "\n"


def trigger(*subscribers: str) -> str:
    return (
        "apiVersion: events.openfunction.io/v1alpha1\nkind: Trigger\nmetadata: {name: hot}\nspec:\n"
        "  inputs: {a: {eventSource: plant, event: readings}, b: {eventSource: plant, event: alarms}}\n"
        "  subscribers:\n" + "".join(f"  - {{{one}}}\n" for one in subscribers)
    )


def sink(name: str, field: str = "sink") -> str:
    return f"{field}: {{ref: {{kind: Function, name: {name}}}}}"


READINGS = "default.plant.readings"
ALARMS = "default.plant.alarms"


def problems(*documents: str) -> list[Problem]:
    try:
        read(["-"], stdin=io.BytesIO("---\n".join(documents).encode()))
    except InvalidInput as error:
        return list(error.problems)
    return []


LOOPS = {
    "output": ([function("f", reads="t", sends="t")], "f -> t -> f"),
    "two functions": (
        [function("f", reads="t", sends="u"), function("g", reads="u", sends="t")],
        "f -> u -> g -> t -> f",
    ),
    "trigger": (
        [trigger(f"condition: a, {sink('f')}"), function("f", sends=READINGS)],
        f"{READINGS} -> f -> {READINGS}",
    ),
    "topic sink": ([trigger(f"condition: a, topic: {READINGS}")], f"{READINGS} -> {READINGS}"),
    "topic sink and function": (
        [trigger("condition: a, topic: next"), function("f", reads="next", sends=READINGS)],
        f"{READINGS} -> next -> f -> {READINGS}",
    ),
    "two topic sinks": (
        [trigger(f"condition: a, topic: {ALARMS}", f"condition: b, topic: {READINGS}")],
        f"{READINGS} -> {ALARMS} -> {READINGS}",
    ),
    "join": (
        [trigger(f"condition: 'a && b', {sink('f')}"), function("f", sends=ALARMS)],
        f"{ALARMS} -> f -> {ALARMS}",
    ),
    "absence": ([trigger(f"condition: '!a', {sink('f')}"), function("f", sends=ALARMS)], f"{ALARMS} -> f -> {ALARMS}"),
    "dead letter topic": (
        [trigger(f"condition: a, {sink('f')}, deadLetterTopic: {READINGS}"), function("f")],
        f"{READINGS} -> {READINGS}",
    ),
    "dead letters of the delivery": (
        [trigger(f"condition: a, {sink('f')}, delivery: {{deadLetter: {READINGS}}}"), function("f")],
        f"{READINGS} -> {READINGS}",
    ),
    "dead letter sink": (
        [
            trigger(f"condition: a, {sink('f')}, {sink('g', 'deadLetterSink')}"),
            function("f"),
            function("g", sends=READINGS),
        ],
        f"{READINGS} -> g -> {READINGS}",
    ),
    "dead letters of the function": ([function("f", reads="t", dead="t")], "t -> t"),
    "dead letters that a trigger inherits": (
        [trigger(f"condition: a, {sink('f')}"), function("f", dead=READINGS)],
        f"{READINGS} -> {READINGS}",
    ),
    "sink of a source": (
        [SOURCE.replace("SINK", ", " + sink("f")), function("f", sends=READINGS)],
        f"{READINGS} -> f -> {READINGS}",
    ),
}


@pytest.mark.parametrize(("documents", "names"), LOOPS.values(), ids=LOOPS)
def test_a_loop_is_refused_with_its_way(documents: list[str], names: str) -> None:
    (found,) = problems(*documents)

    assert found.code == "E124"
    assert _turned(names) == _turned(found.message.split(": ", 1)[1].split(";")[0])


def _turned(names: str) -> list[str]:
    """A way round, begun at its smallest place."""
    places = names.split(" -> ")
    assert places[0] == places[-1]
    start = places.index(min(places))
    return [*places[start:-1], *places[:start]]


NONE = {
    "a chain": [function("f", reads="t", sends="u"), function("g", reads="u", sends="v")],
    "another input": [trigger(f"condition: a, {sink('f')}"), function("f", sends=ALARMS)],
    "a word in a text": [trigger(f"condition: \"a && a.data.x == 'b'\", {sink('f')}"), function("f", sends=ALARMS)],
    "a member of that name": [trigger(f"condition: 'a.data.b != 1', {sink('f')}"), function("f", sends=ALARMS)],
    "an own dead letter sink": [
        trigger(f"condition: a, {sink('f')}, deadLetterSink: {{uri: 'http://h'}}"),
        function("f", dead=READINGS),
    ],
    "another bus": [
        trigger(f"condition: a, {sink('f')}"),
        function("f", sends=READINGS).replace("default, t", "other, t"),
    ],
}


@pytest.mark.parametrize("documents", NONE.values(), ids=NONE)
def test_what_only_looks_like_a_loop_is_taken(documents: list[str]) -> None:
    assert problems(*documents) == []


def test_a_loop_that_is_meant_is_taken() -> None:
    circle = trigger(f"condition: a, topic: {READINGS}")
    meant = circle.replace("{name: hot}", '{name: hot, annotations: {evoke.dev/allow-loop: "true"}}')

    assert problems(meant) == []


GRAPH = st.dictionaries(st.integers(0, 6), st.lists(st.integers(0, 6), max_size=3), max_size=7)


@settings(deadline=None)
@given(GRAPH)
def test_circles_are_the_places_that_lead_back_to_themselves(edges: dict[int, list[int]]) -> None:
    back = {place for place in edges for to in edges[place] if way(edges, to, place)}

    assert circles(edges).keys() == back
    for place, number in circles(edges).items():
        assert {one for one, other in circles(edges).items() if other == number} == {
            one for one in back if way(edges, place, one) and way(edges, one, place)
        }
