"""The local store: what an apply changes, what it leaves, and what a restart finds."""

import asyncio
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from api.actions import Status
from api.conditions import false, true
from api.errors import InvalidInput, NotFound, Problem
from api.meta import Key
from controller.errors import Conflict
from controller.local.sqlite import Manifest, SqliteStore, conditions_of, connect, next_epoch

NOW = datetime(2026, 1, 1, tzinfo=UTC)
FUNCTION = Manifest(
    api_version="core.openfunction.io/v1beta2", kind="Function", key=Key("default", "f"), spec={"version": "v1"}
)


@pytest.fixture
def store(tmp_path):
    db = connect(tmp_path / "state.db")
    yield SqliteStore(db, lambda _version, _kind, spec: spec)
    db.close()


def edit(**changes):
    return msgspec.structs.replace(FUNCTION, **changes)


@pytest.mark.parametrize(
    ("second", "outcome", "generation"),
    [
        (FUNCTION, "unchanged", 1),
        (edit(spec={"version": "v2"}), "configured", 2),
        (edit(labels={"a": "b"}), "configured", 1),
        (edit(annotations={"a": "b"}), "configured", 1),
    ],
)
def test_generation_grows_with_the_spec_only(store, second, outcome, generation):
    assert [applied.outcome for applied in store.apply([FUNCTION], now=NOW)] == ["created"]
    before = store.get("Function", FUNCTION.key)

    assert [applied.outcome for applied in store.apply([second], now=NOW + timedelta(1))] == [outcome]

    after = store.get("Function", FUNCTION.key)
    assert (after.generation, after.uid, after.created) == (generation, before.uid, NOW)
    assert (after.version == before.version) == (outcome == "unchanged")


def test_what_this_release_cannot_read_is_there_with_its_problems(tmp_path):
    def decode(_version, kind, spec):
        if kind == "Resiliency":
            raise InvalidInput([Problem(code="E111", message="no")])
        return spec

    db = connect(tmp_path / "state.db")
    store = SqliteStore(db, decode)
    store.apply([FUNCTION, edit(kind="Resiliency")], now=NOW)

    function, resiliency = asyncio.run(store.resources())
    assert (function.spec, function.problems) == (FUNCTION.spec, ())
    assert (resiliency.spec, [problem.code for problem in resiliency.problems]) == (None, ["E111"])
    db.close()


def test_apply_is_all_or_nothing(store):
    with pytest.raises(Conflict):
        store.apply([FUNCTION, edit(key=Key("default", "g"), version=7)], now=NOW)

    assert store.select() == []


def test_dry_run_changes_nothing_and_says_what_would(store):
    calls = []
    store.subscribe(lambda: calls.append(1))

    assert store.apply([FUNCTION], dry_run=True, now=NOW)[0].outcome == "created"
    assert store.select() == []
    assert calls == []


def test_what_is_applied_by_hand_stays_in_its_project(store):
    store.apply([FUNCTION], project="p", now=NOW)

    assert [applied.outcome for applied in store.apply([FUNCTION], now=NOW)] == ["unchanged"]
    store.apply([edit(spec={"version": "v2"}, labels={"a": "b"})], now=NOW)
    assert store.get("Function", FUNCTION.key).labels == {"a": "b", "evoke.dev/project": "p"}
    store.apply([edit(labels={"evoke.dev/project": "q"})], now=NOW)
    assert store.get("Function", FUNCTION.key).labels == {"evoke.dev/project": "q"}


def test_prune_takes_only_what_carries_the_project(store):
    store.apply([FUNCTION, edit(key=Key("default", "g"))], project="p", now=NOW)
    store.apply([edit(key=Key("default", "by-hand"))], now=NOW)

    results = store.apply([FUNCTION], project="p", prune=True, now=NOW)

    assert [(applied.name, applied.outcome) for applied in results] == [("f", "unchanged"), ("g", "pruned")]
    assert [stored.key.name for stored in store.select()] == ["by-hand", "f"]


def test_status_keeps_transition_times_and_reports_changes(store):
    store.apply([FUNCTION], now=NOW)
    starting = Status(kind="Function", key=FUNCTION.key, conditions=(false("Available", "Starting", "wait"),))
    ready = msgspec.structs.replace(starting, conditions=(true("Available"),))

    async def go():
        first = await store.write_statuses([starting], now=NOW)
        again = await store.write_statuses([starting], now=NOW + timedelta(1))
        later = await store.write_statuses([ready], now=NOW + timedelta(2))
        gone = await store.write_statuses([msgspec.structs.replace(ready, key=Key("default", "no"))], now=NOW)
        return first, again, later, gone, await store.resources()

    first, again, later, gone, resources = asyncio.run(go())
    assert (len(first), len(again), len(later), len(gone)) == (1, 0, 1, 0)
    kept = {condition.type: condition for condition in conditions_of(resources[0].status)}
    assert kept["Ready"].status == "True"
    assert kept["Ready"].last_transition_time == NOW + timedelta(2)


def test_a_restart_finds_everything_under_a_higher_epoch(tmp_path):
    first = connect(tmp_path / "state.db")
    assert next_epoch(first) == 1
    SqliteStore(first, dict).apply([FUNCTION], now=NOW)
    # no close: a kill -9 leaves the write-ahead log behind
    second = connect(tmp_path / "state.db")

    assert next_epoch(second) == 2
    assert SqliteStore(second, dict).get("Function", FUNCTION.key).spec == FUNCTION.spec
    first.close()
    second.close()


def test_what_is_not_there_is_named(store):
    with pytest.raises(NotFound, match="function/f is not in namespace default"):
        store.delete("Function", FUNCTION.key)
