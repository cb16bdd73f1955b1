"""Checks that many kinds share: choices between fields, duplicates, references that stay in their namespace."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from api import addresses
from api.kinds.fields import Sink
from api.structure import Fault
from api.tree import Path


def at_most_one(struct: Any, fields: Sequence[str], path: Path) -> Iterator[Fault]:
    """Of *fields* (wire names) at most one may be set."""
    given = _given(struct, fields)
    if len(given) > 1:
        yield Fault("E118", path, f"only one of {_listed(given)} may be set")


def exactly_one(struct: Any, fields: Sequence[str], path: Path, *, complete: bool) -> Iterator[Fault]:
    """Of *fields* (wire names) exactly one must be set."""
    yield from at_most_one(struct, fields, path)
    if complete and not _given(struct, fields):
        yield Fault("E118", path, f"one of {_listed(fields)} must be set")


def credentials(struct: Any, path: Path) -> Iterator[Fault]:
    """A credential stands in the YAML or in a Secret, never both: ``password`` and ``passwordFrom``."""
    for field in msgspec.structs.fields(struct):
        if field.name.endswith("_from"):
            yield from at_most_one(struct, (field.encode_name.removesuffix("From"), field.encode_name), path)


def duplicates(keys: Sequence[Any], path: Path, what: str) -> Iterator[Fault]:
    """No two of *keys* are equal; None stands for an item that cannot be compared."""
    first: dict[Any, int] = {}
    for index, key in enumerate(keys):
        if key is not None and first.setdefault(key, index) != index:
            yield Fault("E117", (*path, index), f"{what} already stands at index {first[key]}")


def same_namespace(namespace: str | None, own: str, path: Path) -> Iterator[Fault]:
    if namespace is not None and namespace != own:
        yield Fault("E120", (*path, "namespace"), f"`{namespace}` is another namespace; references stay in `{own}`")


def sink(target: Sink | None, own: str, path: Path, *, complete: bool) -> Iterator[Fault]:
    if target is None:
        return
    yield from exactly_one(target, ("ref", "uri"), path, complete=complete)
    if target.ref is not None:
        yield from same_namespace(target.ref.namespace, own, (*path, "ref"))
        if target.ref.kind not in {"Function", "Service"}:
            yield Fault("E115", (*path, "ref", "kind"), f"`{target.ref.kind[:80]}` cannot be a sink: use Function")
    if target.uri is not None and (defect := addresses.defect(target.uri)):
        yield Fault("E113", (*path, "uri"), defect)


def _given(struct: Any, fields: Sequence[str]) -> list[str]:
    names = {field.encode_name: field.name for field in msgspec.structs.fields(struct)}
    return [field for field in fields if getattr(struct, names[field]) not in (None, (), {})]


def _listed(fields: Sequence[str]) -> str:
    return ", ".join(f"`{field}`" for field in fields)
