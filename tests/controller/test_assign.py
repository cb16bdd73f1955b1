"""Ownership: exactly one owner each, sticky, spread."""

from __future__ import annotations

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from api.meta import Key, RevisionKey
from api.model import App, Backend, Snapshot, Source, Subscription
from controller.assign import Assignment, assign

BUS = Key("default", "default")


def snapshot(subscriptions: int = 0, sources: int = 0, everywhere: int = 0) -> Snapshot:
    return Snapshot(
        namespace="default",
        subscriptions=tuple(
            Subscription(key=Key("default", f"s{n:02d}"), bus=BUS, subject="s", group="g") for n in range(subscriptions)
        ),
        sources=tuple(
            Source(key=Key("default", f"e{n:02d}"), kind="cron", bus=BUS, subject="s", singleton=n < sources)
            for n in range(sources + everywhere)
        ),
    )


def names(assignment: Assignment) -> str:
    return " ".join(key.name for key in (*assignment.subscriptions, *assignment.sources))


def test_nobody_owns_without_proxies() -> None:
    assert assign([], [snapshot(3)], {}) == {}


def test_one_owner_each_and_what_is_no_singleton_everywhere() -> None:
    found = assign(["p1", "p0"], [snapshot(3, 1, 1)], {})

    assert {name: names(one) for name, one in found.items()} == {"p0": "s00 s02 e00 e01", "p1": "s01 e01"}


def test_an_owner_that_went_leaves_its_own_only() -> None:
    before = assign(["p0", "p1", "p2"], [snapshot(6)], {})
    after = assign(["p0", "p2"], [snapshot(6)], before)

    assert set(before["p0"].subscriptions) < set(after["p0"].subscriptions)
    assert set(before["p2"].subscriptions) < set(after["p2"].subscriptions)


def test_a_newcomer_takes_no_more_than_its_share() -> None:
    before = assign(["p0"], [snapshot(5)], {})
    after = assign(["p0", "p1"], [snapshot(5)], before)

    assert (len(after["p0"].subscriptions), len(after["p1"].subscriptions)) == (3, 2)
    assert set(after["p0"].subscriptions) < set(before["p0"].subscriptions)


def test_streams_belong_to_the_home_of_their_function() -> None:
    known = snapshot(4)
    known = msgspec.structs.replace(
        known,
        subscriptions=tuple(
            msgspec.structs.replace(one, form="stream", trigger="f") if one.key.name < "s03" else one
            for one in known.subscriptions
        ),
    )
    found = assign(["p0", "p1"], [known], {}, {Key("default", "f"): "p1"})

    assert {name: names(one) for name, one in found.items()} == {"p0": "s03", "p1": "s00 s01 s02"}
    assert assign(["p0", "p1"], [known], found, {Key("default", "f"): "p1"}) == found
    moved = assign(["p0"], [known], found, {Key("default", "f"): "p0"})
    assert names(moved["p0"]) == "s00 s01 s02 s03"


def test_all_that_goes_to_a_dapr_app_belongs_to_its_home() -> None:
    function = Key("default", "f")
    backend = Backend(revision=RevisionKey("default", "f", "00001"))
    known = snapshot(4)
    known = msgspec.structs.replace(
        known,
        apps=(App(key=function, id="f", protocol="http"),),
        subscriptions=tuple(
            msgspec.structs.replace(one, backends=(backend,)) if one.key.name < "s03" else one
            for one in known.subscriptions
        ),
    )

    found = assign(["p0", "p1"], [known], {}, {function: "p1"})
    assert {name: names(one) for name, one in found.items()} == {"p0": "s03", "p1": "s00 s01 s02"}

    ours = msgspec.structs.replace(known, apps=(App(key=function, id="f"),))
    spread = assign(["p0", "p1"], [ours], {}, {function: "p1"})
    assert [len(one.subscriptions) for one in spread.values()] == [2, 2]


steps = st.lists(st.tuples(st.sets(st.sampled_from("abcde")), st.integers(0, 12), st.integers(0, 5)), max_size=6)


@given(steps)
def test_always_exactly_one_owner_and_rest_when_nothing_changes(history: list[tuple[set[str], int, int]]) -> None:
    before: dict[str, Assignment] = {}
    for proxies, subscriptions, sources in history:
        known = snapshot(subscriptions, sources)
        after = assign(proxies, [known], before)
        owned = sorted(key for one in after.values() for key in one.subscriptions)
        assert owned == ([one.key for one in known.subscriptions] if proxies else [])
        counts = [len(one.subscriptions) for one in after.values()] or [0]
        assert max(counts) - min(counts) <= 1
        assert assign(proxies, [known], after) == after
        before = after
