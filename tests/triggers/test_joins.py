"""Joins: when they fire, with what, and that no order, duplicate or replay changes it."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.errors import InvalidInput
from api.meta import Key
from api.model import Join
from eventbus.cloudevents import heading
from triggers import filters, joins
from triggers.joins import Event, Fired, JoinState, advance
from triggers.paths import compile_path
from triggers.presence import compile_presence

JOIN = Join(
    key=Key("team", "hot.hello"),
    bus=Key("team", "default"),
    condition="a && b",
    inputs=("a", "b", "c"),
    window=timedelta(seconds=10),
    subject="evoke.joined.team.hot.hello",
)
ALL = msgspec.structs.replace(JOIN, forward="all", correlate="data.vehicle")

Arrival = tuple[str, str, float]
"""Input, id, seconds."""


def event(ident: str, **more: Any) -> Event:
    payload = json.dumps({"specversion": "1.0", "id": ident, "source": "s", "type": "t", **more}).encode()
    return Event(heading(payload), payload)


def run(arrivals: Iterable[Arrival], join: Join = JOIN, state: JoinState | None = None) -> list[str]:
    """Ids of the events that completed the condition."""
    return [json.loads(one.payload)["id"] for one in fired(arrivals, join, state)]


def fired(arrivals: Iterable[Arrival], join: Join = JOIN, state: JoinState | None = None) -> list[Fired]:
    state, found = state or JoinState(), []
    for name, ident, now in arrivals:
        state, one = advance(joins.settled(state), join, name, event(ident), now)
        found += [one] if one else []
    return found


def test_fires_when_the_condition_comes_to_hold() -> None:
    assert run([("a", "1", 0), ("b", "2", 5)]) == ["2"]
    assert run([("b", "1", 0), ("a", "2", 5)]) == ["2"]
    assert run([("a", "1", 0), ("a", "2", 1), ("c", "3", 2)]) == []


def test_is_cleared_when_it_fires() -> None:
    assert run([("a", "1", 0), ("b", "2", 1), ("b", "3", 2), ("a", "4", 3), ("a", "5", 4)]) == ["2", "4"]


def test_absence() -> None:
    join = msgspec.structs.replace(JOIN, condition="a && !b")

    assert run([("a", "1", 0)], join) == ["1"]
    assert run([("b", "1", 0), ("a", "2", 9.9)], join) == []
    assert run([("b", "1", 0), ("a", "2", 10)], join) == ["2"]


def test_the_window_ends_with_its_last_moment() -> None:
    assert run([("a", "1", 0), ("b", "2", 9.999)]) == ["2"]
    assert run([("a", "1", 0), ("b", "2", 10)]) == []


def test_a_backlog_brings_nothing_together_that_was_apart() -> None:
    assert run([("b", "1", 100), ("a", "2", 0), ("a", "3", 95)]) == ["3"]
    assert run([("b", "1", 100), ("a", "2", 91), ("b", "3", 95)]) == ["2"]
    assert run([("b", "1", 100), ("b", "2", 50), ("a", "3", 101)]) == ["3"]


def test_a_newer_event_takes_the_place_of_the_older() -> None:
    state, _ = advance(JoinState(), ALL, "a", event("1", data={"vehicle": 7, "n": 1}), 0)
    state, _ = advance(state, ALL, "a", event("2", data={"vehicle": 7, "n": 2}), 8)
    state, one = advance(state, ALL, "b", event("3", data={"vehicle": 7}), 15)

    assert one is not None
    assert json.loads(one.payload)["data"]["a"]["data"]["n"] == 2


def test_a_duplicate_changes_nothing() -> None:
    assert run([("a", "1", 0), ("b", "2", 1), ("a", "1", 2), ("b", "2", 3)]) == ["2"]
    assert run([("a", "1", 0), ("b", "2", 1), ("a", "1", 500), ("b", "2", 501)]) == ["2"]


def test_one_event_may_be_two_inputs() -> None:
    assert run([("a", "1", 0), ("b", "1", 0)]) == ["1"]


def test_all_events_go_into_one() -> None:
    join = msgspec.structs.replace(ALL, condition="a && b || c")
    first = event("1", time="2026-01-01T00:00:00Z", evokehops=3, data={"vehicle": "v-07"})
    second = event("2", time="2026-01-01T00:00:01Z", data={"vehicle": "v-07"})
    state, _ = advance(JoinState(), join, "a", first, 0)
    _, one = advance(state, join, "b", second, 1)

    assert one is not None
    assert (one.key, one.hops) == ("v-07", 3)
    assert json.loads(one.payload) == {
        "specversion": "1.0",
        "id": one.dedupe,
        "source": "evoke://team/triggers/hot.hello",
        "type": "io.evoke.joined",
        "datacontenttype": "application/json",
        "time": "2026-01-01T00:00:01Z",
        "partitionkey": "v-07",
        "evokehops": 3,
        "data": {"a": json.loads(first.payload), "b": json.loads(second.payload)},
    }
    heading(one.payload)


def test_the_newest_goes_on_as_it_is() -> None:
    state, _ = advance(JoinState(), JOIN, "a", event("1", evokehops=5), 0)
    newest = event("2", partitionkey="k", time=7, evokehops="many")
    _, one = advance(state, JOIN, "b", newest, 1)

    assert one is not None
    assert (one.payload, one.key, one.hops) == (newest.payload, "k", 5)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ({"data": {"vehicle": 7}}, {"data": {"vehicle": 7.0}}, True),
        ({"data": {"vehicle": 7}}, {"data": {"vehicle": "7"}}, False),
        ({"data": {"vehicle": "a"}}, {"data": {"vehicle": "b"}}, False),
        ({"data": {"vehicle": True}}, {"data": {"vehicle": 1}}, False),
    ],
)
def test_events_with_the_same_value_find_each_other(one: dict[str, Any], other: dict[str, Any], same: bool) -> None:
    first, second = (joins.state_key(ALL, event("1", **given).payload) for given in (one, other))

    assert (first == second) is same
    assert first is not None
    assert first.startswith("team.hot.hello.")


@pytest.mark.parametrize("given", [{}, {"data": 7}, {"data": {"vehicle": None}}, {"data": {"vehicle": [1]}}])
def test_events_without_the_value_take_no_part(given: dict[str, Any]) -> None:
    assert joins.state_key(ALL, event("1", **given).payload) is None
    assert joins.state_key(JOIN, event("1", **given).payload) == "team.hot.hello.any"


def test_an_event_that_cannot_wait_is_refused() -> None:
    with pytest.raises(joins.TooLarge):
        advance(JoinState(), JOIN, "a", event("1", data="x" * joins.MAX_PAYLOAD), 0)


def test_a_cell_stays_below_a_mebibyte() -> None:
    inputs = tuple(f"i{number}" for number in range(12))
    join = msgspec.structs.replace(ALL, inputs=inputs, condition=" && ".join(inputs), correlate="")
    large = "x" * (joins.MAX_PAYLOAD - 100)
    state: JoinState = JoinState()
    for number in range(300):
        state, _ = advance(state, join, "i0", event(str(number), data=large), 0)
    sizes = []
    for name in inputs[1:]:
        state, _ = advance(state, join, name, event("n", data=large), 0)
        sizes.append(len(joins.encode(state)))

    assert len(state.seen) == joins.MAX_SEEN
    assert max(sizes) < 1 << 20


def test_cells_survive_their_encoding() -> None:
    state, _ = advance(JoinState(), JOIN, "a", event("1"), 0)
    done, one = advance(state, JOIN, "b", event("2"), 0)

    assert joins.decode(joins.encode(state)) == state
    assert joins.decode(joins.encode(done)) == done
    assert done.pending == one
    assert joins.decode(b"") == JoinState()


@pytest.mark.parametrize("value", [b"\x02", b"\x01", b"\x01\xc0", b"{}"])
def test_foreign_cells_are_refused(value: bytes) -> None:
    with pytest.raises(joins.BadState):
        joins.decode(value)


def test_an_edit_that_takes_an_input_away_forgets_its_event() -> None:
    state, _ = advance(JoinState(), JOIN, "a", event("1"), 0)
    join = msgspec.structs.replace(JOIN, condition="b && !a", inputs=("b", "c"))

    assert run([("b", "2", 1)], join, state) == ["2"]


INPUT = st.sampled_from(JOIN.inputs)
CONDITION = st.sampled_from(["a && b", "a || b", "a && !b", "a && (b || !c)", "!a", "a && b && c", "!(a && b) && c"])
TIMES = st.floats(0, 40, allow_nan=False)
ARRIVALS = st.lists(st.tuples(INPUT, st.integers(0, 8).map(str), TIMES), max_size=25)
"""In any order of their times: inputs have backlogs of their own."""


def model(condition: str, arrivals: Sequence[Arrival]) -> list[tuple[str, frozenset[str]]]:
    """The meaning, told naively: (id that fired, inputs that were there)."""
    waiting: dict[str, float] = {}
    seen: set[tuple[str, str]] = set()
    found = []
    for name, ident, now in arrivals:
        waiting = {one: at for one, at in waiting.items() if at > now - 10}
        if (name, ident) in seen:
            continue
        seen.add((name, ident))
        there = frozenset({name, *(one for one, at in waiting.items() if abs(at - now) < 10)})
        if compile_presence(condition)(there):
            found.append((ident, there))
            left = [one for one, at in waiting.items() if one not in there or (one == name and at > now)]
            waiting = {one: waiting[one] for one in left}
        else:
            waiting[name] = max(now, waiting.get(name, now))
    return found


@settings(deadline=None)
@given(CONDITION, ARRIVALS)
def test_means_what_is_said(condition: str, arrivals: list[Arrival]) -> None:
    join = msgspec.structs.replace(ALL, condition=condition, correlate="")
    found = fired(arrivals, join)

    assert [frozenset(json.loads(one.payload)["data"]) for one in found] == [
        there for _, there in model(condition, arrivals)
    ]
    newest = msgspec.structs.replace(join, forward="newest")
    assert run(arrivals, newest) == [ident for ident, _ in model(condition, arrivals)]


@settings(deadline=None)
@given(CONDITION, ARRIVALS, st.integers(0, 25))
def test_a_replayed_prefix_fires_nothing_new(condition: str, arrivals: list[Arrival], length: int) -> None:
    """Whoever takes over hears again what was not acknowledged."""
    join = msgspec.structs.replace(JOIN, condition=condition)
    prefix = arrivals[:length]
    state, _ = _end(prefix, join)

    assert run(prefix, join, state) == []
    assert _end(prefix, join) == _end(prefix, join)


@settings(deadline=None)
@given(CONDITION, ARRIVALS)
def test_what_fires_twice_has_one_dedupe_id_and_others_have_others(condition: str, arrivals: list[Arrival]) -> None:
    join = msgspec.structs.replace(ALL, condition=condition, correlate="")
    found = fired(arrivals, join)

    assert [one.dedupe for one in fired(arrivals, join)] == [one.dedupe for one in found]
    assert len({one.dedupe for one in found}) == len({one.payload for one in found})


@settings(deadline=None)
@given(st.permutations(["a", "b", "c"]), st.lists(st.floats(0, 3), min_size=3, max_size=3))
def test_the_order_of_arrival_does_not_matter_where_nothing_is_negated(order: list[str], gaps: list[float]) -> None:
    join = msgspec.structs.replace(ALL, condition="a && b && c", correlate="")
    arrivals = [(name, name, at) for name, at in zip(order, itertools.accumulate(gaps), strict=True)]
    (one,) = fired(arrivals, join)

    assert one.dedupe == fired([("a", "a", 0), ("b", "b", 0), ("c", "c", 0)], join)[0].dedupe


def _end(arrivals: Iterable[Arrival], join: Join) -> tuple[JoinState, int]:
    state, count = JoinState(), 0
    for name, ident, now in arrivals:
        state, one = advance(joins.settled(state), join, name, event(ident), now)
        count += one is not None
    return state, count


@pytest.mark.parametrize(
    "path", ["subject", "myext", "event.subject", "data.vehicle", "data['a b'].c", "event.data.tags[0]", 'data["x"]']
)
def test_a_path_is_also_a_condition(path: str) -> None:
    compile_path(path)
    filters.compile(None, f"event.{path.removeprefix('event.')} != null")


@pytest.mark.parametrize(
    "path", ["", "Subject", "subject.x", "data.", "data[x]", "data.a-b", "data..a", "a b", "data['']", "x" * 300]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(InvalidInput, match=r"E12[56]"):
        compile_path(path)
