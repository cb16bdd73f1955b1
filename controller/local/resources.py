"""Resources as the API shows them, and applying what came over it: all checked before the first write."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from api import documents, support
from api.actions import Resource
from api.codes import CODES
from api.consistency.changes import changes
from api.consistency.loops import Member, may_loop
from api.documents import Document
from api.errors import InvalidInput, NotFound, Problem
from api.kinds import KINDS, NAMES, KindInfo
from api.meta import Key
from api.tree import text_of
from controller import authority, reading, revisions
from controller.local.secrets import Secrets
from controller.local.sqlite import Applied, Manifest, SqliteStore, Stored

KEPT = (documents.FOLDER, authority.PAUSED, authority.MIN, authority.MAX, revisions.ROLLBACK)
"""Annotations written by commands: applying the same files again leaves them."""


class Resources:
    """The store and the secrets behind one API."""

    def __init__(self, store: SqliteStore, secrets: Secrets, capabilities: frozenset[str]) -> None:
        self._store, self._secrets, self._capabilities = store, secrets, capabilities

    async def apply(self, body: Mapping[str, Any], now: datetime) -> list[dict[str, Any]]:
        """Apply documents as POST /v1/apply takes them; InvalidInput with every problem, and nothing applied."""
        found = documents.decode_all(body.get("documents") or [])
        dry_run = bool(body.get("dryRun"))
        secrets = [document for document in found if document.info.kind == "Secret"]
        others = [document for document in found if document.info.kind != "Secret"]
        values = {document.key: _secret_values(document) for document in secrets}
        if fixed := [problem for document in others for problem in self._fixed(document)]:
            raise InvalidInput(fixed)
        warnings = await self._warnings(others)
        if refused := [problem for said in warnings.values() for problem in said if problem.code in CODES]:
            raise InvalidInput(refused)  # a condition that does not compile, a loop with what is there already
        applied = self._store.apply(
            [self._manifest(document) for document in others],
            project=str(body.get("project") or ""),
            prune=bool(body.get("prune")),
            dry_run=dry_run,
            now=now,
        )
        results = [_result(one, warnings.get((one.kind, Key(one.namespace, one.name)), ())) for one in applied]
        return [*results, *(self._put_secret(key, some, dry_run=dry_run) for key, some in values.items())]

    def select(self, kind: str, namespace: str | None, labels: str) -> list[dict[str, Any]]:
        """Resources of a kind (any of its names, or ``all``), as JSON."""
        info = None if kind == "all" else named(kind)
        if info is not None and info.kind == "Secret":
            return [_secret(name, keys) for name, keys in sorted(self._secrets.names(namespace).items())]
        chosen = self._store.select(kind=info.kind if info else None, namespace=namespace)
        return [as_json(stored) for stored in chosen if matches(stored.labels, labels)]

    def get(self, kind: str, key: Key) -> Stored:
        """One resource, or NotFound; cluster-wide kinds have no namespace."""
        info = named(kind)
        return self._store.get(info.kind, key if info.namespaced else Key("", key.name))

    def delete(self, kind: str, key: Key) -> Stored:
        """Delete one resource, or NotFound."""
        info = named(kind)
        return self._store.delete(info.kind, key if info.namespaced else Key("", key.name))

    def annotate(self, function: Key, annotations: Mapping[str, str | None], now: datetime) -> Stored:
        """Set annotations of a Function; None removes one."""
        stored = self._store.get("Function", function)
        merged = {**stored.annotations, **annotations}
        manifest = Manifest(
            **{name: getattr(stored, name) for name in ("api_version", "kind", "key", "labels", "spec")},
            annotations={name: value for name, value in merged.items() if value is not None},
        )
        self._store.apply([manifest], now=now)
        return self._store.get("Function", function)

    def _manifest(self, document: Document) -> Manifest:
        meta = document.resource["metadata"]
        annotations = dict(meta.get("annotations") or {})
        if document.info.kind == "Function":
            annotations = {**self._kept(document.key), **annotations}
        return Manifest(
            api_version=document.info.api_version,
            kind=document.info.kind,
            key=document.key,
            labels=dict(meta.get("labels") or {}),
            annotations=annotations,
            spec=document.body,
            version=int(meta["resourceVersion"]) if str(meta.get("resourceVersion") or "").isdecimal() else None,
        )

    def _kept(self, function: Key) -> dict[str, str]:
        try:
            stored = self._store.get("Function", function)
        except NotFound:
            return {}
        return {name: stored.annotations[name] for name in KEPT if name in stored.annotations}

    def _fixed(self, document: Document) -> Iterator[Problem]:
        """What *document* changes although it may not."""
        try:
            before = self._store.get(document.info.kind, document.key).spec
        except NotFound:
            return
        for fault in changes(document.info.kind, before, document.body):
            path = text_of(fault.path)
            yield Problem(code=fault.code, message=fault.message, path=path, file=document.file, line=document.line)

    async def _warnings(self, found: Sequence[Document]) -> dict[tuple[str, Key], tuple[Problem, ...]]:
        """What the readers would say of *found* beside everything that is there."""
        world = {(one.kind, one.key): one for one in await self._store.resources()}
        for document in found:
            manifest = self._manifest(document)
            world[manifest.kind, manifest.key] = Resource(
                **{name: getattr(manifest, name) for name in ("api_version", "kind", "key", "labels", "annotations")},
                uid="",
                generation=0,
                spec=document.spec,
            )
        models = reading.read(world.values(), self._capabilities)
        said = models.said()
        applied = {(document.info.kind, document.key) for document in found}
        there = [
            Member(one.key.namespace, one.key.name, one.spec, may_loop(one.annotations))
            for name, one in world.items()
            if name not in applied
        ]
        if closed := documents.loops_with(found, there):
            raise InvalidInput(closed)
        for document in found:
            if document.info.kind in {"EventBus", "ClusterEventBus"}:
                noted = support.notes(document.info.kind, document.spec, self._capabilities)
                said[document.info.kind, document.key] = noted
        places = {(document.info.kind, document.key): document for document in found}
        return {
            name: tuple(
                msgspec.structs.replace(problem, file=document.file, line=problem.line or document.line)
                for problem in said.get(name, ())
            )
            for name, document in places.items()
        }

    def _put_secret(self, secret: Key, values: Mapping[str, bytes], *, dry_run: bool) -> dict[str, Any]:
        outcome = "configured" if str(secret) in self._secrets.names(secret.namespace) else "created"
        if not dry_run:
            for name, value in values.items():
                self._secrets.put(secret, name, value)
        return {"kind": "Secret", **_named(secret), "outcome": outcome, "warnings": []}


def named(kind: str) -> KindInfo:
    """What is known of a kind by any of its names, or NotFound."""
    info = NAMES.get(kind.lower())
    if info is None:
        raise NotFound(f"no kind is called {kind}", code="E194", hint="evoke get all lists what there is")
    return info


def as_json(stored: Stored) -> dict[str, Any]:
    """A resource in the shape of Kubernetes, what stands beside ``spec`` in its place."""
    info = KINDS.get((stored.api_version, stored.kind))
    beside = {name: stored.spec[name] for name in (info.beside if info else ()) if name in stored.spec}
    return {
        "apiVersion": stored.api_version,
        "kind": stored.kind,
        "metadata": {
            **_named(stored.key),
            "uid": stored.uid,
            "generation": stored.generation,
            "resourceVersion": str(stored.version),
            "labels": stored.labels,
            "annotations": stored.annotations,
            "creationTimestamp": stored.created,
        },
        **beside,
        "spec": {name: value for name, value in stored.spec.items() if name not in beside},
        "status": stored.status,
    }


def matches(labels: Mapping[str, str], selector: str) -> bool:
    """Whether *labels* satisfy ``a=b,c!=d,e,!f``."""
    for term in filter(None, (part.strip() for part in selector.split(","))):
        name, operator, value = _term(term)
        if operator == "=" and labels.get(name) != value:
            return False
        if operator == "!=" and labels.get(name) == value:
            return False
        if operator in {"", "!"} and (name in labels) is (operator == "!"):
            return False
    return True


def _term(term: str) -> tuple[str, str, str]:
    for operator in ("!=", "==", "="):
        name, found, value = term.partition(operator)
        if found:
            return name.strip(), "!=" if operator == "!=" else "=", value.strip()
    return (term[1:].strip(), "!", "") if term.startswith("!") else (term, "", "")


def _result(applied: Applied, warnings: Sequence[Problem]) -> dict[str, Any]:
    return {
        "kind": applied.kind,
        "namespace": applied.namespace,
        "name": applied.name,
        "outcome": applied.outcome,
        "warnings": list(warnings),
    }


def _secret_values(document: Document) -> dict[str, bytes]:
    """Keys and values of a Secret; ``stringData`` wins over ``data``, as in Kubernetes."""
    values: dict[str, bytes] = {}
    for name, text in (document.resource.get("data") or {}).items():
        try:
            values[name] = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            problem = Problem(
                code="E113", path=f"data.{name}", file=document.file, line=document.line, message="is not base64"
            )
            raise InvalidInput([problem]) from None
    return values | {name: text.encode() for name, text in (document.resource.get("stringData") or {}).items()}


def _secret(name: str, keys: frozenset[str]) -> dict[str, Any]:
    metadata = _named(Key.parse(name))
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "keys": sorted(keys), "spec": {}, "status": {}}


def _named(key: Key) -> dict[str, str]:
    return {"name": key.name, "namespace": key.namespace}
