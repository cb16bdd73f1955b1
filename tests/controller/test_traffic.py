"""Weights over revisions: only what was ready once gets traffic."""

from __future__ import annotations

import pytest

from api.actions import RevisionState
from api.meta import RevisionKey
from controller.readers.model import TrafficShare
from controller.traffic import backends
from tests.controller.worlds import NOW


def known(marks: str) -> list[RevisionState]:
    """One revision per mark, oldest first: ``+`` was ready, ``-`` never."""
    return [
        RevisionState(key=RevisionKey("default", "f", f"{n:05d}"), digest="", checked=mark == "+", created=NOW)
        for n, mark in enumerate(marks, 1)
    ]


def share(revision: str, weight: int, tag: str | None = None) -> TrafficShare:
    return TrafficShare(revision=revision, weight=weight, tag=tag)


@pytest.mark.parametrize(
    ("shares", "marks", "wanted"),
    [
        ([], "", []),
        ([], "-", []),
        ([], "+", [("00001", 100, None)]),
        ([], "+-", [("00001", 100, None)]),
        ([], "-+", [("00002", 100, None)]),
        ([share("00001", 90), share("", 10)], "++", [("00001", 90, None), ("00002", 10, None)]),
        ([share("f-00001", 90), share("", 10)], "++", [("00001", 90, None), ("00002", 10, None)]),
        ([share("00001", 90), share("", 10)], "+-", [("00001", 100, None)]),
        ([share("00007", 100)], "++", [("00002", 100, None)]),
        ([share("00002", 50), share("00001", 50)], "+-", [("00001", 100, None)]),
        ([share("", 100), share("00001", 0, "old")], "++", [("00001", 0, "old"), ("00002", 100, None)]),
        ([share("00001", 0)], "++", [("00002", 100, None)]),
        ([share("00003", 5, "next"), share("", 95)], "++-", [("00002", 100, None)]),
    ],
)
def test_backends(shares: list[TrafficShare], marks: str, wanted: list[tuple[str, int, str | None]]) -> None:
    assert [(one.revision.revision, one.weight, one.tag) for one in backends(shares, known(marks))] == wanted
