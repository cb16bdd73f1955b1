"""Happenings become the lines of the transcript, character for character."""

from __future__ import annotations

from typing import Any

from cli.narrate import PATIENCE, Narrator, resource_line


def happening(kind: str, said: str = "", resource: str = "function/on-reading", **data: Any) -> dict[str, Any]:
    return {"at": "2026-01-01T00:00:00Z", "namespace": "default", "resource": resource, "type": kind} | {
        "message": said,
        "data": data,
    }


def test_resources_stand_in_columns() -> None:
    assert resource_line("eventbus/default", "ready", "nats 2.15, on disk") == (
        "eventbus/default        ready    nats 2.15, on disk"
    )
    assert resource_line("function/on-reading", "ready", "revision 00002") == (
        "function/on-reading     ready    revision 00002"
    )
    assert resource_line("function/order-processor", "problem", "CrashLoop") == (
        "function/order-processor  problem  CrashLoop"
    )


def test_a_start_is_one_line_when_it_is_done() -> None:
    narrator = Narrator()
    decided = happening(
        "scaled",
        "0 -> 1  event waiting, lag 1",
        **{"from": 0, "to": 1, "because": "event waiting, lag 1"},
        revision="1",
    )

    assert narrator.tell(decided, 0.0) == []
    assert narrator.tell(happening("activation", "ready in 9 ms", cold_start_ms=9.2, revision="1"), 0.0) == [
        "on-reading  0 -> 1  event waiting, lag 1        ready in 9 ms"
    ]
    assert narrator.overdue(PATIENCE * 2) == []


def test_a_start_that_takes_long_is_told_without_its_end() -> None:
    narrator = Narrator()
    narrator.tell(happening("scaled", **{"from": 0, "to": 1, "because": "event waiting, lag 1"}, revision="1"), 0.0)

    assert narrator.overdue(PATIENCE) == []
    assert narrator.overdue(PATIENCE + 0.1) == ["on-reading  0 -> 1  event waiting, lag 1        starting"]


def test_giving_back_is_told_at_once() -> None:
    gone = happening("scaled", **{"from": 1, "to": 0, "because": "idle for 300 s"}, revision="1")

    assert Narrator().tell(gone, 0.0) == ["on-reading  1 -> 0  idle for 300 s"]


def test_logs_carry_the_attempt_only_where_it_is_not_the_first() -> None:
    narrator = Narrator()

    assert narrator.tell(happening("log", message="kitchen is hot: 31", attempt=1), 0) == [
        "on-reading  kitchen is hot: 31"
    ]
    assert narrator.tell(happening("log", message="kitchen is hot: 32", attempt=4), 0) == [
        "on-reading  kitchen is hot: 32                  (attempt 4)"
    ]
    assert narrator.tell(happening("log", message="a\nb\x1b[2J", severity="ERROR"), 0) == [
        "on-reading  ERROR a",
        "on-reading  b\\x1b[2J",
    ]


def test_a_failed_attempt_is_told_as_the_proxy_says_it() -> None:
    said = "attempt 1 of 10 failed: KeyError 'celcius' (main.py:9); again in 1 s"

    assert Narrator().tell(happening("attempt-failed", said), 0) == [f"on-reading  {said}"]


def test_a_state_is_told_once() -> None:
    narrator = Narrator()
    problem = happening("problem", "HandlerError: main.py:3: invalid syntax")

    assert narrator.tell(problem, 0) == ["function/on-reading     problem  HandlerError: main.py:3: invalid syntax"]
    assert narrator.tell(problem, 1) == []
    assert narrator.tell(happening("ready", "revision 00002"), 2) == ["function/on-reading     ready    revision 00002"]
    assert narrator.tell(problem, 3) != []


def test_what_nobody_needs_to_know_is_not_told() -> None:
    assert Narrator().tell(happening("delivered", "1 event"), 0) == []
    assert Narrator().tell(happening("source", "connected"), 0) == []


def test_what_says_less_than_was_said_is_not_told() -> None:
    narrator = Narrator()
    narrator.knows("function/on-reading", "function/on-reading     ready    revision 00001, 0 replicas")

    assert narrator.tell(happening("ready", "revision 00001"), 0) == []
    assert narrator.tell(happening("changed", "Starting: revision 00002 is on its way"), 0) == []
    assert narrator.tell(happening("ready", "revision 00002"), 0) == ["function/on-reading     ready    revision 00002"]


def scaled(before: int, after: int, revision: str) -> dict[str, Any]:
    return happening("scaled", **{"from": before, "to": after, "because": "event waiting, lag 1"}, revision=revision)


def test_a_new_revision_takes_over_without_a_word() -> None:
    narrator = Narrator()
    narrator.tell(scaled(0, 1, "00001"), 0)
    narrator.tell(happening("activation", "", cold_start_ms=9, revision="00001"), 0)

    said = [
        narrator.tell(happening("ready", "revision 00002"), 1),
        narrator.tell(scaled(1, 0, "00001"), 2),
        narrator.tell(scaled(0, 1, "00002"), 5),
        narrator.tell(happening("activation", "", cold_start_ms=9, revision="00002"), 5),
        narrator.tell(scaled(1, 2, "00002"), 6),
        narrator.tell(happening("activation", "", cold_start_ms=9, revision="00002"), 6),
    ]

    assert [line for lines in said for line in lines] == [
        "function/on-reading     ready    revision 00002",
        "on-reading  1 -> 2  event waiting, lag 1        ready in 9 ms",
    ]


def test_a_new_revision_of_a_resting_function_starts_as_any() -> None:
    narrator = Narrator()
    narrator.tell(happening("ready", "revision 00002"), 0)
    narrator.tell(scaled(0, 1, "00002"), 0)

    assert narrator.tell(happening("activation", "", cold_start_ms=9, revision="00002"), 0) != []


def test_the_traceback_of_a_failed_event_is_left_to_the_logs() -> None:
    report = {"severity": "ERROR", "message": "KeyError\nTraceback", "logger": "functions_framework", "event": "1"}

    assert Narrator().tell(happening("log", **report), 0) == []
    assert Narrator().tell(happening("log", **report | {"event": None}), 0) != []
    assert Narrator().tell(happening("log", **report | {"logger": "mine"}), 0) != []
