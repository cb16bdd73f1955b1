"""The store of one machine: ``STATE/state.db``, SQLite in WAL mode, written by the one controller that holds the lock.

Resources are kept as they were written (defaults are the readers' matter), so that a newer release reads them anew.
Deleting has no finalizers: a resource is gone at once, and the plan removes what it had.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from api import conditions
from api.actions import Resource, Status
from api.errors import InvalidInput, NotFound
from api.meta import Key, ResourceRef
from controller.errors import Conflict

PROJECT = "evoke.dev/project"

Outcome: TypeAlias = Literal["created", "configured", "unchanged", "pruned"]
Decode: TypeAlias = Callable[[str, str, Mapping[str, Any]], Any]
"""apiVersion, kind and raw spec -> Struct of api.kinds."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS resources (
    kind TEXT, namespace TEXT, name TEXT, api_version TEXT NOT NULL, uid TEXT NOT NULL,
    generation INTEGER NOT NULL, version INTEGER NOT NULL, created TEXT NOT NULL,
    labels TEXT NOT NULL, annotations TEXT NOT NULL, spec TEXT NOT NULL, status TEXT NOT NULL DEFAULT '{}',
    PRIMARY KEY (kind, namespace, name)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS revisions (
    namespace TEXT, function TEXT, revision TEXT, digest TEXT NOT NULL, workload BLOB NOT NULL, scale BLOB NOT NULL,
    created TEXT NOT NULL, wanted INTEGER NOT NULL DEFAULT 0, descriptor BLOB,
    problem TEXT NOT NULL DEFAULT '', message TEXT NOT NULL DEFAULT '',
    PRIMARY KEY (namespace, function, revision)
) WITHOUT ROWID;
"""


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """A resource as somebody wants it."""

    api_version: str
    kind: str
    key: Key
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    spec: dict[str, Any] = {}
    version: int | None = None
    """The resourceVersion that it was read at; None: whatever is there now."""


class Stored(Manifest, frozen=True, kw_only=True):
    """A resource as it stands."""

    uid: str
    generation: int
    created: datetime
    status: dict[str, Any] = {}


class Applied(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    namespace: str
    name: str
    outcome: Outcome


def connect(path: Path) -> sqlite3.Connection:
    """Open the database, create what is missing, and count this start: the epoch of everything this process says."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=NORMAL")  # survives kill -9; after a power cut the last seconds may be missing
    db.execute("PRAGMA cache_size=-1024")
    db.executescript(_SCHEMA)
    if "app" not in {row[1] for row in db.execute("PRAGMA table_info(revisions)")}:  # of an earlier release
        db.execute("ALTER TABLE revisions ADD COLUMN app BLOB")
    db.row_factory = sqlite3.Row
    return db


def next_epoch(db: sqlite3.Connection) -> int:
    """Count one start of the controller; the first is 1."""
    return _count(db, "epoch")


class SqliteStore:
    """Store of resources; see controller.store.Store."""

    def __init__(self, db: sqlite3.Connection, decode: Decode) -> None:
        self._db, self._decode = db, decode
        self._subscribers: list[Callable[[], None]] = []

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call *changed* after every change of desired state."""
        self._subscribers.append(changed)

    async def resources(self) -> tuple[Resource, ...]:
        """Every resource with its spec decoded."""
        return tuple(self._resource(stored) for stored in self.select())

    async def write_statuses(self, statuses: Sequence[Status], *, now: datetime) -> tuple[Status, ...]:
        """Store statuses; answers those that changed, with their settled conditions."""
        changed = []
        with self._transaction():
            for status in statuses:
                stored = self._get(status.kind, status.key)
                settled = _settle(stored, status, now) if stored is not None else None
                if settled is None:
                    continue
                self._db.execute(
                    "UPDATE resources SET status = ? WHERE kind = ? AND namespace = ? AND name = ?",
                    (_text(_status(settled)), status.kind, status.key.namespace, status.key.name),
                )
                changed.append(settled)
        return tuple(changed)

    def select(
        self, *, kind: str | None = None, namespace: str | None = None, labels: Mapping[str, str] | None = None
    ) -> list[Stored]:
        """Resources that match, ordered by kind, namespace and name."""
        rows = self._db.execute(
            "SELECT * FROM resources WHERE (?1 IS NULL OR kind = ?1) AND (?2 IS NULL OR namespace IN (?2, ''))"
            " ORDER BY kind, namespace, name",
            (kind, namespace),
        )
        wanted = (labels or {}).items()
        return [stored for stored in map(_stored, rows) if wanted <= stored.labels.items()]

    def get(self, kind: str, key: Key) -> Stored:
        """One resource, or NotFound."""
        stored = self._get(kind, key)
        if stored is None:
            name = ResourceRef(kind, key.namespace, key.name)
            raise NotFound(f"{name} is not in namespace {key.namespace}", code="E194")
        return stored

    def apply(
        self,
        manifests: Sequence[Manifest],
        *,
        project: str = "",
        prune: bool = False,
        dry_run: bool = False,
        now: datetime,
    ) -> list[Applied]:
        """Make every manifest so, all or nothing; with *prune* delete what carries *project* and is not among them."""
        with self._transaction(commit=not dry_run):
            results = [self._apply(self._labelled(manifest, project), now) for manifest in manifests]
            if project and prune:
                kept = {(manifest.kind, manifest.key) for manifest in manifests}
                for stored in self.select(labels={PROJECT: project}):
                    if (stored.kind, stored.key) not in kept:
                        self._delete(stored.kind, stored.key)
                        results.append(_applied(stored, "pruned"))
        if not dry_run and any(result.outcome != "unchanged" for result in results):
            self._announce()
        return results

    def delete(self, kind: str, key: Key) -> Stored:
        """Remove one resource; answers what it was, or NotFound."""
        stored = self.get(kind, key)
        self._delete(kind, key)
        self._announce()
        return stored

    def _get(self, kind: str, key: Key) -> Stored | None:
        row = self._db.execute(
            "SELECT * FROM resources WHERE kind = ? AND namespace = ? AND name = ?", (kind, key.namespace, key.name)
        ).fetchone()
        return _stored(row) if row else None

    def _apply(self, wanted: Manifest, now: datetime) -> Applied:
        stored = self._get(wanted.kind, wanted.key)
        if wanted.version is not None and wanted.version != (stored.version if stored else 0):
            raise Conflict(
                f"{wanted.kind} {wanted.key} has changed since it was read",
                code="E193",
                hint="read it again, or leave metadata.resourceVersion out",
            )
        if stored is not None and _same(stored, wanted):
            return _applied(wanted, "unchanged")
        generation = 1 if stored is None else stored.generation + (stored.spec != wanted.spec)
        self._db.execute(
            "INSERT INTO resources VALUES (?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT DO UPDATE SET"
            " api_version=excluded.api_version, generation=excluded.generation, version=excluded.version,"
            " labels=excluded.labels, annotations=excluded.annotations, spec=excluded.spec",
            (
                *(wanted.kind, wanted.key.namespace, wanted.key.name, wanted.api_version),
                *(str(uuid.uuid4()), generation, _count(self._db, "version"), now.astimezone(UTC).isoformat()),
                *(_text(wanted.labels), _text(wanted.annotations), _text(wanted.spec), "{}"),
            ),
        )
        return _applied(wanted, "created" if stored is None else "configured")

    def _labelled(self, manifest: Manifest, project: str) -> Manifest:
        """*manifest* as part of *project*; of none: of the one that it belongs to already, and `up` still finds it."""
        if not project and PROJECT not in manifest.labels:
            stored = self._get(manifest.kind, manifest.key)
            project = stored.labels.get(PROJECT, "") if stored else ""
        return msgspec.structs.replace(manifest, labels={**manifest.labels, PROJECT: project}) if project else manifest

    def _delete(self, kind: str, key: Key) -> None:
        self._db.execute(
            "DELETE FROM resources WHERE kind = ? AND namespace = ? AND name = ?", (kind, key.namespace, key.name)
        )

    def _resource(self, stored: Stored) -> Resource:
        """What another release stored and this one cannot read keeps nobody else from being planned."""
        same = ("api_version", "kind", "key", "uid", "generation", "labels", "annotations", "status")
        fields = {name: getattr(stored, name) for name in same}
        try:
            return Resource(spec=self._decode(stored.api_version, stored.kind, stored.spec), **fields)
        except InvalidInput as error:
            return Resource(problems=error.problems, **fields)

    def _announce(self) -> None:
        for changed in self._subscribers:
            changed()

    @contextmanager
    def _transaction(self, *, commit: bool = True) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT" if commit else "ROLLBACK")


def conditions_of(status: Mapping[str, Any]) -> tuple[conditions.Condition, ...]:
    """The conditions of a stored status."""
    return tuple(msgspec.convert(status.get("conditions", []), list[conditions.Condition]))


def _count(db: sqlite3.Connection, name: str) -> int:
    row = db.execute(
        "INSERT INTO counters VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1 RETURNING value", (name,)
    ).fetchone()
    return int(row[0])


def _stored(row: sqlite3.Row) -> Stored:
    return Stored(
        api_version=row["api_version"],
        kind=row["kind"],
        key=Key(row["namespace"], row["name"]),
        uid=row["uid"],
        generation=row["generation"],
        version=row["version"],
        created=datetime.fromisoformat(row["created"]),
        labels=msgspec.json.decode(row["labels"]),
        annotations=msgspec.json.decode(row["annotations"]),
        spec=msgspec.json.decode(row["spec"]),
        status=msgspec.json.decode(row["status"]),
    )


def _settle(stored: Stored, status: Status, now: datetime) -> Status | None:
    """*status* with stamped conditions, or None when it says what is stored already."""
    fresh = [condition for condition in status.conditions if condition.type != "Ready"]
    settled = conditions.settle(conditions_of(stored.status), fresh, generation=stored.generation, now=now)
    result = msgspec.structs.replace(status, conditions=settled)
    return None if msgspec.json.decode(_text(_status(result))) == stored.status else result


def _status(status: Status) -> dict[str, Any]:
    return {**status.fields, "conditions": status.conditions}


def _same(stored: Stored, wanted: Manifest) -> bool:
    return all(getattr(stored, name) == getattr(wanted, name) for name in _WRITTEN)


_WRITTEN = ("api_version", "labels", "annotations", "spec")


def _applied(manifest: Manifest, outcome: Outcome) -> Applied:
    return Applied(kind=manifest.kind, namespace=manifest.key.namespace, name=manifest.key.name, outcome=outcome)


def _text(value: Iterable[Any]) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()
