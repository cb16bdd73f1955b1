"""CustomResourceDefinitions from the kinds: structural schemas, everything inlined, descriptions from docstrings."""

from __future__ import annotations

import ast
import functools
import inspect
import itertools
import textwrap
from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import inspect as mi

from api.kinds import KindInfo
from api.structure import shape

VERSION = 1
"""Of our schema: the annotation ``evoke.dev/schema`` of each CRD, raised with every change of a field."""

ANNOTATION = "evoke.dev/schema"
KEEP_UNKNOWN = "x-kubernetes-preserve-unknown-fields"
_SCALED = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
_COLUMNS = (
    ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
    ("Reason", "string", '.status.conditions[?(@.type=="Ready")].reason'),
    ("Age", "date", ".metadata.creationTimestamp"),
)


class Described(msgspec.Struct, frozen=True):
    """Docstrings of a class and its fields, by the name that Python has for them."""

    text: str
    fields: Mapping[str, str]


@functools.cache
def described(cls: type[msgspec.Struct]) -> Described:
    """Read the docstrings of *cls* and of its bases from their source."""
    fields: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        if base in {object, msgspec.Struct} or not issubclass(base, msgspec.Struct):
            continue
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        body = definition.body if isinstance(definition, ast.ClassDef) else []
        for field, doc in itertools.pairwise(body):
            if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and (text := _string(doc)):
                fields[field.target.id] = text
    return Described(_flat(cls.__doc__ or ""), fields)


def _string(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return _flat(str(statement.value.value))
    return ""


def _flat(text: str) -> str:
    return " ".join(text.split())


def crd(info: KindInfo) -> dict[str, Any]:
    """The CustomResourceDefinition of *info*."""
    subresources: dict[str, Any] = {"status": {}}
    if info.kind == "Serving":
        subresources["scale"] = {**_SCALED, "labelSelectorPath": ".status.selector"}
    scope = "Namespaced" if info.namespaced else "Cluster"
    names = {"kind": info.kind, "listKind": f"{info.kind}List", "plural": info.plural, "singular": info.singular}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{info.plural}.{info.group}",
            "annotations": {ANNOTATION: str(VERSION), "helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": info.group,
            "names": names | ({"shortNames": list(info.short)} if info.short else {}),
            "scope": scope,
            "versions": [
                {
                    "name": info.version,
                    "served": True,
                    "storage": True,
                    "subresources": subresources,
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path} for name, type_, path in _COLUMNS
                    ],
                    "schema": {"openAPIV3Schema": _root(info)},
                }
            ],
        },
    }


def _root(info: KindInfo) -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": {"description": described(info.spec).text, **structural(shape(info.spec))},
            "status": _status(),
        },
    }


def _status() -> dict[str, Any]:
    text = {"type": "string"}
    condition = {
        "type": "object",
        "required": ["type", "status", "reason"],
        "properties": {
            "type": text,
            "status": {**text, "enum": ["True", "False", "Unknown"]},
            "reason": text,
            "message": text,
            "observedGeneration": {"type": "integer", "format": "int64"},
            "lastTransitionTime": {**text, "format": "date-time", "nullable": True},
        },
    }
    keyed = {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
    conditions = {"type": "array", "items": condition, **keyed}
    return {"type": "object", KEEP_UNKNOWN: True, "properties": {"conditions": conditions}}


def structural(type_: mi.Type, outer: tuple[type, ...] = (), extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Structural schema of *type_*; a type inside itself is left open, structural schemas have no references."""
    match type_:
        case mi.Metadata():
            return structural(type_.type, outer, type_.extra_json_schema)
        case mi.UnionType():
            return _union(type_, outer, extra)
        case mi.StructType():
            return _struct(type_, outer)
        case mi.DictType() | mi.VarTupleType():
            return _collection(type_, outer)
    return _scalar(type_) | dict(extra or {})


def _collection(type_: mi.DictType | mi.VarTupleType, outer: tuple[type, ...]) -> dict[str, Any]:
    if isinstance(type_, mi.VarTupleType):
        most = {"maxItems": type_.max_length} if type_.max_length is not None else {}
        return {"type": "array", "items": structural(type_.item_type, outer), **most}
    if isinstance(type_.value_type, mi.AnyType):
        return {"type": "object", KEEP_UNKNOWN: True}
    return {"type": "object", "additionalProperties": _value(type_.value_type, outer)}


def _scalar(type_: mi.Type) -> dict[str, Any]:
    match type_:
        case mi.StrType():
            return {"type": "string"} | ({"pattern": type_.pattern} if type_.pattern else {})
        case mi.IntType():
            return {"type": "integer", "format": "int64"} | _bounds(type_)
        case mi.FloatType():
            return {"type": "number"} | _bounds(type_)
        case mi.BoolType():
            return {"type": "boolean"}
        case mi.LiteralType():
            kind = "boolean" if isinstance(type_.values[0], bool) else "string"
            return {"type": kind, "enum": list(type_.values)}
    return {KEEP_UNKNOWN: True}


def _bounds(type_: mi.IntType | mi.FloatType) -> dict[str, Any]:
    named = (("minimum", type_.ge), ("maximum", type_.le))
    return {name: bound for name, bound in named if bound is not None}


def _union(type_: mi.UnionType, outer: tuple[type, ...], extra: Mapping[str, Any] | None) -> dict[str, Any]:
    options = [option for option in type_.types if not isinstance(option, mi.NoneType)]
    if len(options) == 1:
        return structural(options[0], outer, extra)
    return {"x-kubernetes-int-or-string": True}


def _struct(type_: mi.StructType, outer: tuple[type, ...]) -> dict[str, Any]:
    if type_.cls in outer:
        return {"type": "object", KEEP_UNKNOWN: True}
    docs = described(type_.cls)
    properties = {
        field.encode_name: {
            "description": docs.fields.get(field.name, ""),
            **structural(field.type, (*outer, type_.cls)),
        }
        for field in type_.fields
    }
    required = [field.encode_name for field in type_.fields if field.required]
    return {"type": "object", **({"required": required} if required else {}), "properties": properties}


def _value(type_: mi.Type, outer: tuple[type, ...]) -> dict[str, Any]:
    """Schema of a map's values, which may be null where their type says so (``states``)."""
    schema = structural(type_, outer)
    nullable = isinstance(type_, mi.UnionType) and any(isinstance(option, mi.NoneType) for option in type_.types)
    return {**schema, "nullable": True} if nullable else schema
