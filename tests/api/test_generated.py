"""What is made from the types is current, complete and what an API server takes."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from api.codes import CODES
from api.kinds import KINDS
from api.reference import Field, fields
from api.schema import KEEP_UNKNOWN, crd
from api.structure import shape
from api.support import SUPPORT, support

ROOT = Path(__file__).parent.parent.parent
PACKAGES = [
    "api",
    "builder",
    "cli",
    "controller",
    "eventbus",
    "functions_framework",
    "gateway",
    "proxy",
    "replicas",
    "triggers",
]


def every_field() -> Iterator[tuple[str, Field]]:
    for info in KINDS.values():
        yield from ((info.kind, field) for field in fields(shape(info.spec)))


def test_generated_files_are_current() -> None:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "scripts" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)

    assert generate.drift(ROOT) == [], "run scripts/generate.py"


def test_every_field_has_a_support_row() -> None:
    assert [
        (kind, field.path) for kind, field in every_field() if field.leaf and support(kind, field.path) is None
    ] == []


def test_every_support_row_is_a_field() -> None:
    known = {(kind, field.path) for kind, field in every_field()}
    maps = {(kind, field.path) for kind, field in every_field() if field.type_.startswith("map to ")}
    known |= {(kind, path + suffix) for kind, path in known for suffix in ("[]", ".*")}
    rows = {(kind, path.replace("[function]", "[]")) for kind, rows in SUPPORT.items() for path in rows if path}

    assert {(kind, row) for kind, row in rows - known if (kind, row.rpartition(".")[0]) not in maps} == set()


def test_every_kind_is_in_the_support_table() -> None:
    assert SUPPORT.keys() == {info.kind for info in KINDS.values()}


def test_every_row_that_is_not_honoured_says_why() -> None:
    assert [
        path for rows in SUPPORT.values() for path, row in rows.items() if row.where != "both" and not row.why
    ] == []


def test_every_field_is_described() -> None:
    assert [(kind, field.path) for kind, field in every_field() if not field.doc] == []


def test_every_error_code_is_registered() -> None:
    used = {
        (code, file.name)
        for package in PACKAGES
        for file in (ROOT / package).rglob("*.py")
        for code in re.findall(r'"(E1\d\d)"', file.read_text(encoding="utf-8"))
    }

    assert {(code, file) for code, file in used if code not in CODES} == set()


OWN = [info for info in KINDS.values() if info.own]


@pytest.mark.parametrize("info", OWN, ids=lambda info: info.kind)
def test_schemas_are_structural(info: Any) -> None:
    definition = crd(info)
    (version,) = definition["spec"]["versions"]

    assert list(unstructured(version["schema"]["openAPIV3Schema"])) == []


def unstructured(schema: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Paths that break the rules of structural schemas."""
    if "type" not in schema and not schema.get(KEEP_UNKNOWN) and not schema.get("x-kubernetes-int-or-string"):
        yield f"{path}: no type"
    yield from (
        f"{path}: {word}" for word in ("$ref", "anyOf", "oneOf", "allOf", "definitions", "const") if word in schema
    )
    if "properties" in schema and "additionalProperties" in schema:
        yield f"{path}: properties and additionalProperties"
    for name, inner in schema.get("properties", {}).items():
        yield from unstructured(inner, f"{path}.{name}")
    for name in ("items", "additionalProperties"):
        if name in schema:
            yield from unstructured(schema[name], f"{path}.{name}")


def test_a_revision_can_be_scaled() -> None:
    (serving,) = (info for info in OWN if info.kind == "Serving")
    (version,) = crd(serving)["spec"]["versions"]

    assert version["subresources"]["scale"]["specReplicasPath"] == ".spec.replicas"
    assert "replicas" in version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]


def test_upgrades_keep_the_definitions() -> None:
    for info in OWN:
        assert crd(info)["metadata"]["annotations"] == {"evoke.dev/schema": "1", "helm.sh/resource-policy": "keep"}
