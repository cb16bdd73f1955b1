"""Records of revisions in state.db: what a restart must know, and nothing that can be seen again.

Held in memory and written through. A revision is checked once its descriptor is known. Builds are not recorded: one
that was done before is found in its folders at once, and an upgrade of the framework is noticed that way.
"""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.actions import RevisionState
from api.meta import RevisionKey
from api.model import Bundle, Workload
from api.scaling import ScalePolicy
from controller.local.app_facts import AppFacts
from functions_framework.zygote_wire import Descriptor


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """One revision."""

    workload: Workload
    scale: ScalePolicy
    created: datetime
    wanted: int = 0
    descriptor: Descriptor | None = None
    app: AppFacts | None = None
    """Of a Dapr app: what it said when it was checked."""
    problem: str = ""
    message: str = ""

    @property
    def key(self) -> RevisionKey:
        """Its name."""
        return self.workload.key

    def state(self) -> RevisionState:
        """What a planner sees."""
        return RevisionState(
            key=self.key,
            digest=self.workload.revision_digest(),
            checked=self.descriptor is not None,
            problem=self.problem,
            message=self.message,
            wanted=self.wanted,
            credit=self.descriptor.concurrency if self.descriptor is not None else 0,
            declared=self.app.declared if self.app is not None else None,
            created=self.created,
            workload=self.workload,
            scale=self.scale,
        )


class Revisions:
    """All records; one writer."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._records = {record.key: record for record in map(_record, db.execute("SELECT * FROM revisions"))}
        self._states = {key: record.state() for key, record in self._records.items()}

    def all(self) -> tuple[Record, ...]:
        """Every record, by name."""
        return tuple(self._records[key] for key in sorted(self._records))

    def states(self) -> tuple[RevisionState, ...]:
        """Every record as planners see it."""
        return tuple(self._states[key] for key in sorted(self._states))

    def get(self, key: RevisionKey) -> Record | None:
        """One record."""
        return self._records.get(key)

    def ensure(self, workload: Workload, scale: ScalePolicy, *, now: datetime) -> Record:
        """Record a revision, or the new policy and labels of one that exists."""
        known = self._records.get(workload.key)
        if known is None:
            return self._put(Record(workload=workload, scale=scale, created=now.astimezone(UTC), wanted=scale.initial))
        return self.change(workload.key, workload=workload, scale=scale) or known

    def change(self, key: RevisionKey, **changes: Any) -> Record | None:
        """Write some fields; None when the revision is gone."""
        known = self._records.get(key)
        if known is None:
            return None
        changed = msgspec.structs.replace(known, **changes)
        if changes.keys() == {"wanted"}:  # a restart begins with what runs: no write on the way to a cold start
            self._records[key], self._states[key] = changed, changed.state()
            return changed
        return known if changed == known else self._put(changed)

    def restarted(self, key: RevisionKey, *, wanted: int) -> None:
        """Begin anew after a restart: how its replicas ended before says nothing of those to come."""
        known = self._records.get(key)
        if known is None:
            return
        checked = {"problem": "", "message": ""} if known.descriptor is not None else {}
        self.change(key, wanted=wanted, **checked)

    def remove(self, key: RevisionKey) -> Record | None:
        """Forget a revision."""
        self._db.execute(
            "DELETE FROM revisions WHERE namespace = ? AND function = ? AND revision = ?", msgspec.structs.astuple(key)
        )
        self._states.pop(key, None)
        return self._records.pop(key, None)

    def _put(self, record: Record) -> Record:
        self._records[record.key] = record
        self._states[record.key] = record.state()
        self._db.execute(
            "INSERT INTO revisions (namespace, function, revision, digest, workload, scale, created, wanted,"
            " descriptor, app, problem, message) VALUES (?,?,?,?,?,?,?,?,?,?,?,?)"
            " ON CONFLICT DO UPDATE SET digest=excluded.digest,"
            " workload=excluded.workload, scale=excluded.scale, wanted=excluded.wanted, descriptor=excluded.descriptor,"
            " app=excluded.app, problem=excluded.problem, message=excluded.message",
            (
                *msgspec.structs.astuple(record.key),
                self._states[record.key].digest,
                msgspec.json.encode(record.workload),
                msgspec.json.encode(record.scale),
                record.created.isoformat(),
                record.wanted,
                msgspec.json.encode(record.descriptor) if record.descriptor else None,
                msgspec.json.encode(record.app) if record.app else None,
                record.problem,
                record.message,
            ),
        )
        return record


def _record(row: sqlite3.Row) -> Record:
    return Record(
        workload=msgspec.json.decode(row["workload"], type=Workload),
        scale=msgspec.json.decode(row["scale"], type=ScalePolicy),
        created=datetime.fromisoformat(row["created"]),
        wanted=row["wanted"],
        descriptor=msgspec.json.decode(row["descriptor"], type=Descriptor) if row["descriptor"] else None,
        app=msgspec.json.decode(row["app"], type=AppFacts) if row["app"] else None,
        problem=row["problem"],
        message=row["message"],
    )


def bundle_of(record: Record) -> Bundle:
    """The code of a revision; only bundles run as processes."""
    if not isinstance(record.workload.artifact, Bundle):
        raise TypeError(f"{record.key} is {type(record.workload.artifact).__name__}, not a bundle")
    return record.workload.artifact
