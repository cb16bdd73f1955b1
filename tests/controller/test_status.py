"""Conditions and OpenFunction's states, one row each; what they do to Ready."""

from __future__ import annotations

from datetime import timedelta

import pytest

from api import conditions
from api.actions import BuildState, Observed, RevisionState
from api.conditions import Condition, false, true, unknown
from api.errors import Problem
from api.meta import Key, RevisionKey
from api.model import Backend, Build, Directory
from controller import builds, status
from tests.controller.worlds import NOW, running

KEY = RevisionKey("default", "f", "00001")
NEXT = RevisionKey("default", "f", "00002")
BACKENDS = (Backend(revision=KEY),)
NOTE = Problem(code="NotHere", message="there are no volumes here", path="spec.serving.template.volumes")


def state(key: RevisionKey = KEY, **fields: object) -> RevisionState:
    return RevisionState(**{"key": key, "digest": "", "created": NOW, "checked": True, **fields})


@pytest.mark.parametrize(
    ("newest", "backends", "known", "alive", "wanted"),
    [
        (None, (), (), (), ("Unknown", "Starting")),
        (None, BACKENDS, (state(),), (), ("True", "IdleAtZero")),
        (state(checked=False), (), (), (), ("Unknown", "Starting")),
        (state(), BACKENDS, (state(),), (), ("True", "IdleAtZero")),
        (state(), BACKENDS, (state(),), (KEY,), ("True", "Available")),
        (state(checked=False, problem="HandlerError"), (), (), (), ("False", "HandlerError")),
        (state(problem="CrashLoop"), BACKENDS, (state(problem="CrashLoop"),), (), ("False", "CrashLoop")),
        (state(NEXT, checked=False), BACKENDS, (state(),), (KEY,), ("Unknown", "Starting")),
        (state(NEXT), BACKENDS, (state(problem="OutOfMemory"), state(NEXT)), (), ("False", "OutOfMemory")),
    ],
)
def test_available(
    newest: RevisionState | None,
    backends: tuple[Backend, ...],
    known: tuple[RevisionState, ...],
    alive: tuple[RevisionKey, ...],
    wanted: tuple[str, str],
) -> None:
    found = status.available(newest, backends, known, running(Observed(), *alive))

    assert (found.status, found.reason) == wanted
    assert found.reason in conditions.REASONS["Available"]


@pytest.mark.parametrize(
    ("condition", "state_"),
    [
        (unknown("Built", "Building"), "Building"),
        (true("Built"), "Succeeded"),
        (true("Built", "NoBuild"), "Skipped"),
        (false("Built", "BuildFailed", "x"), "Failed"),
        (false("Built", "BuildTimeout", "x"), "Timeout"),
        (false("Built", "Canceled", "x"), "Canceled"),
        (unknown("Available", "Starting"), "Starting"),
        (true("Available"), "Running"),
        (true("Available", "IdleAtZero"), "Running"),
        (false("Available", "HandlerError", "x"), "Failed"),
        (false("Available", "StartTimeout", "x"), "Timeout"),
    ],
)
def test_states_as_openfunction_names_them(condition: Condition, state_: str) -> None:
    assert status.legacy(condition)["state"] == state_


def test_every_problem_is_named_in_accepted() -> None:
    found = status.accepted([Problem(code="E113", message="min > max", path="spec.a")], [NOTE])

    assert (found.status, found.reason) == ("False", "Invalid")
    assert found.message == "spec.a: min > max; spec.serving.template.volumes: there are no volumes here"


def test_a_field_that_is_not_honoured_leaves_ready_and_a_kind_does_not() -> None:
    noted = status.accepted([], [NOTE])

    assert noted.reason == "NotHere"
    assert conditions.ready([noted, true("Built"), true("Available")]).status == "True"
    assert conditions.ready([noted, true("Built"), false("Available", "CrashLoop", "x")]).reason == "CrashLoop"
    assert conditions.ready([noted]).status == "False"


BUILD = Build(key=Key("default", "f"), source=Directory(path="/src"))
SEEN = Observed(trees={"/src": "1"}, capabilities=frozenset({"processes"}))


@pytest.mark.parametrize(
    ("phase", "wanted"),
    [
        (None, ("Unknown", "Building", "the build runs")),
        ("running", ("Unknown", "Building", "the build runs")),
        ("succeeded", ("True", "Built", "in 1.5 s")),
        ("BuildFailed", ("False", "BuildFailed", "no such package")),
    ],
)
def test_built(phase: str | None, wanted: tuple[str, str, str]) -> None:
    digest = builds.build_digest(BUILD, SEEN) or ""
    ended = BuildState(digest=digest, phase=phase or "", message="no such package", duration=timedelta(seconds=1.5))
    seen = Observed(trees=SEEN.trees, builds={"default/f": ended} if phase else {})
    found = builds.condition(BUILD, seen, "default/f")

    assert (found.status, found.reason, found.message) == wanted


def test_a_complaint_outweighs_silence_and_silence_outweighs_success() -> None:
    keys = [Key("default", name) for name in "abc"]

    assert status.connected(keys, {"default/c": "TLSFailed: expired"}).reason == "TLSFailed"
    assert status.connected(keys, {"default/a": "", "default/b": ""}).status == "Unknown"
    assert status.connected(keys, dict.fromkeys(map(str, keys), "")).status == "True"


def test_every_reason_that_planners_give_is_in_the_table() -> None:
    for found in (
        status.routed(False, {}, SEEN),
        status.routed(True, {"h": Key("default", "g")}, SEEN),
        status.routed(True, {}, SEEN),
        status.subscribed([], [], SEEN),
        status.subscribed([], ["b"], SEEN),
        status.subscribed([Key("default", "s")], [], SEEN),
        status.active(()),
    ):
        assert found.reason in conditions.REASONS[found.type]
