"""Names, retention and rollback of revisions."""

from __future__ import annotations

import msgspec
import pytest

from api.actions import RevisionState
from api.meta import RevisionKey
from api.model import Bundle, Replica, Workload
from controller import revisions
from controller.revisions import ROLLBACK, past_retention, rollback_mark, settle
from tests.controller.worlds import NOW


def workload(code: str, revision: str = "") -> Workload:
    return Workload(key=RevisionKey("default", "f", revision), artifact=Bundle(code=code, runtime="r"))


def known(*codes: str) -> tuple[RevisionState, ...]:
    made = [workload(code, f"{number:05d}") for number, code in enumerate(codes, 1)]
    return tuple(
        RevisionState(key=one.key, digest=one.revision_digest(), checked=True, created=NOW, workload=one)
        for one in made
    )


@pytest.mark.parametrize(
    ("code", "before", "revision"),
    [
        ("a", (), "00001"),
        ("a", ("a",), "00001"),
        ("b", ("a",), "00002"),
        ("a", ("a", "b"), "00003"),
        ("b", ("a", "b"), "00002"),
    ],
)
def test_content_that_changed_gets_the_next_number(code: str, before: tuple[str, ...], revision: str) -> None:
    assert settle(workload(code), known(*before)).key.revision == revision


def test_labels_and_annotations_make_no_revision() -> None:
    labelled = msgspec.structs.replace(workload("a"), labels={"a": "b"}, annotations={"c": "d"})

    assert settle(labelled, known("a")).key.revision == "00001"


def test_revisions_are_sorted_by_number() -> None:
    states = known("a", "b", "c")

    assert revisions.of(states[0].key.function_key, reversed(states)) == states


def test_a_rollback_holds_until_what_is_asked_changes() -> None:
    states = known("a", "b")
    marked = {ROLLBACK: rollback_mark("00001", states, {})}

    back = settle(workload("b"), states, marked)
    assert (back.key.revision, back.artifact) == ("00003", workload("a").artifact)
    assert settle(workload("b"), known("a", "b", "a"), marked).key.revision == "00003"
    assert settle(workload("c"), known("a", "b", "a"), marked).artifact == workload("c").artifact


def test_a_second_rollback_still_stands_in_for_what_is_asked() -> None:
    first = {ROLLBACK: rollback_mark("00002", known("a", "b", "c"), {})}
    after = known("a", "b", "c", "b")
    second = {ROLLBACK: rollback_mark("00001", after, first)}

    assert settle(workload("c"), after, second).artifact == workload("a").artifact


def test_a_rollback_to_a_revision_that_is_gone_does_nothing() -> None:
    states = known("a", "b")[1:]

    assert settle(workload("b"), states, {ROLLBACK: f"00001/{states[0].digest}"}).key.revision == "00002"


def test_retention_spares_traffic_and_replicas() -> None:
    states = known(*"abcdef")
    runs = Replica(id="r", revision=states[1].key, phase="draining", since=NOW)
    past = past_retention(states, limit=2, kept={"00003"}, replicas=[runs])

    assert [key.revision for key in past] == ["00001", "00004"]
