"""Which revision a workload is: the newest one when nothing that matters changed, else the next number; pure.

Edits of labels, scale, delivery and traffic make no revision. A rollback is the old content under the next number: it
is marked with the digest of what the resource asks for, so that the next change of that is deployed like any other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import msgspec

from api.actions import RevisionState
from api.meta import Key, RevisionKey
from api.model import Replica, Workload

ROLLBACK = "evoke.dev/rollback"
"""Annotation of a Function, written by rollback_mark(): ``<revision>/<digest it stands in for>``."""


def of(function: Key, revisions: Iterable[RevisionState]) -> tuple[RevisionState, ...]:
    """Revisions of one function, oldest first."""
    namespace, name = function.namespace, function.name  # every function asks of all revisions: no key is made for each
    mine = (state for state in revisions if state.key.function == name and state.key.namespace == namespace)
    return tuple(sorted(mine, key=_number))


def settle(
    workload: Workload, known: Sequence[RevisionState], annotations: Mapping[str, str] | None = None
) -> Workload:
    """*workload* under its revision's name; *known* are the function's revisions, oldest first.

    Where *annotations* carry a rollback of exactly this workload, the old content under the next name.
    """
    workload = _rolled_back(workload, known, annotations or {})
    newest = known[-1] if known else None
    if newest is not None and newest.digest == workload.revision_digest():
        return _named(workload, newest.key.revision)
    return _named(workload, f"{_number(newest) + 1 if newest else 1:05d}")


def rollback_mark(to: str, known: Sequence[RevisionState], annotations: Mapping[str, str]) -> str:
    """Value of ROLLBACK that brings revision *to* back in place of what the resource asks for now."""
    _, _, asked = annotations.get(ROLLBACK, "").partition("/")
    standing = asked if asked and known and _marked(known, annotations) == known[-1].digest else ""
    return f"{to}/{standing or (known[-1].digest if known else '')}"


def rollback_target(annotations: Mapping[str, str]) -> str:
    """The revision that a rollback stands on, which must stay; empty: none."""
    return annotations.get(ROLLBACK, "").partition("/")[0]


def past_retention(
    known: Sequence[RevisionState], *, limit: int, kept: Collection[str], replicas: Iterable[Replica]
) -> tuple[RevisionKey, ...]:
    """Revisions beyond the newest *limit* that neither get traffic (*kept*) nor run a replica."""
    running = {replica.revision for replica in replicas if replica.phase != "gone"}
    old = known[: max(0, len(known) - max(limit, 1))]
    return tuple(state.key for state in old if state.key.revision not in kept and state.key not in running)


def _rolled_back(workload: Workload, known: Sequence[RevisionState], annotations: Mapping[str, str]) -> Workload:
    to, _, asked = annotations.get(ROLLBACK, "").partition("/")
    found = next((state for state in known if state.key.revision == to), None)
    if found is None or found.workload is None or asked != workload.revision_digest():
        return workload
    return found.workload


def _marked(known: Sequence[RevisionState], annotations: Mapping[str, str]) -> str:
    """Digest of the content that a rollback in force brought back; empty: none is known."""
    to, _, _ = annotations.get(ROLLBACK, "").partition("/")
    return next((state.digest for state in known if state.key.revision == to), "")


def _named(workload: Workload, revision: str) -> Workload:
    key = RevisionKey(workload.key.namespace, workload.key.function, revision)
    return msgspec.structs.replace(workload, key=key)


def _number(state: RevisionState) -> int:
    return int(state.key.revision)
