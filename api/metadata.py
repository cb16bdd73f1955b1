"""The ``metadata`` of a resource, and what else may stand at its top level."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from api import rules
from api.kinds import KindInfo
from api.meta import Key
from api.structure import Fault, named, unknown
from api.tree import Ambiguous

MAX_ANNOTATIONS = 256 << 10

_TOP = ("apiVersion", "kind", "metadata", "status")
_WRITTEN = ("name", "namespace", "labels", "annotations")
_BY_THE_SERVER = (
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
)
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", re.ASCII)
_DAPR = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9._]*[A-Za-z0-9])?", re.ASCII)
"""Outside Kubernetes Dapr takes any name, and `dapr init` itself writes a Configuration ``daprConfig``."""
_LABEL_NAME = re.compile(r"([A-Za-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?", re.ASCII)
_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?", re.ASCII)


def identify(
    resource: Mapping[str, Any], info: KindInfo, namespace: str, faults: list[Fault]
) -> tuple[Key, dict[str, Any]]:
    """Key of *resource*, and the resource with its namespace filled in.

    What only a server writes is left out, except resourceVersion, by which a writer says what it has read.
    """
    top = [*_TOP, *(["spec"] if info.has_spec else []), *info.beside]
    faults.extend(unknown(resource, dict.fromkeys(top), {}, ()))
    given = resource.get("metadata")
    if not isinstance(given, dict):
        faults.append(Fault("E119", (), "`metadata.name` is missing"))
        given = {}
    else:
        faults.extend(unknown(given, dict.fromkeys((*_WRITTEN, *_BY_THE_SERVER)), {}, ("metadata",)))
    name = _name(given, info, faults)
    where = _namespace(given, info, namespace, faults)
    metadata: dict[str, Any] = {"name": name}
    if info.namespaced:
        metadata["namespace"] = where
    for field in ("labels", "annotations"):
        if given.get(field) is not None:
            metadata[field] = _texts(given[field], field, faults)
    if isinstance(given.get("resourceVersion"), str):
        metadata["resourceVersion"] = given["resourceVersion"]
    kept = {key: value for key, value in resource.items() if key != "status"}
    return Key(where, name), {**kept, "metadata": metadata}


def _name(given: Mapping[str, Any], info: KindInfo, faults: list[Fault]) -> str:
    name, path = given.get("name"), ("metadata", "name")
    if name is None:
        if given:
            faults.append(Fault("E119", ("metadata",), "`name` is missing"))
        return ""
    if not isinstance(name, str):
        shown = f"`{name.text}`" if isinstance(name, Ambiguous) else named(name)
        faults.append(Fault("E112", path, f"a name is text, got {shown}; write it in quotes"))
        return ""
    if info.own:
        verdict = rules.name(name)
        if verdict:
            faults.append(Fault(verdict[0], path, verdict[1]))
    elif info.group == "dapr.io":
        if len(name) > 253 or not _DAPR.fullmatch(name):
            faults.append(Fault("E112", path, f"`{name[:80]}` is no name: letters, digits, `-`, `_` and `.`"))
    elif len(name) > 253 or not _SUBDOMAIN.fullmatch(name):
        faults.append(Fault("E112", path, f"`{name[:80]}` is no name: lower-case letters, digits, dashes and dots"))
    return name


def _namespace(given: Mapping[str, Any], info: KindInfo, default: str, faults: list[Fault]) -> str:
    if not info.namespaced:
        if given.get("namespace"):
            faults.append(Fault("E112", ("metadata", "namespace"), f"a {info.kind} belongs to no namespace"))
        return ""
    namespace = given.get("namespace") or default
    verdict = rules.name(namespace) if isinstance(namespace, str) else ("E112", "a namespace is text")
    if verdict:
        faults.append(Fault(verdict[0], ("metadata", "namespace"), verdict[1]))
        return default
    return str(namespace)


def _texts(given: Any, field: str, faults: list[Fault]) -> dict[str, str]:
    path = ("metadata", field)
    if not isinstance(given, dict):
        faults.append(Fault("E111", path, f"expected an object, got {named(given)}"))
        return {}
    kept, size = {}, 0
    for name, value in given.items():
        if not isinstance(value, str):
            shown = f"`{value.text}`" if isinstance(value, Ambiguous) else named(value)
            faults.append(Fault("E111", (*path, name), f"expected text, got {shown}; write it in quotes"))
        elif not _LABEL_NAME.fullmatch(name) or (field == "labels" and not _LABEL_VALUE.fullmatch(value)):
            faults.append(
                Fault("E112", (*path, name), f"this is no {field[:-1]}: letters, digits, `-`, `_`, `.`, at most 63")
            )
        else:
            kept[name] = value
            size += len(name) + len(value)
    if size > MAX_ANNOTATIONS:
        faults.append(Fault("E113", path, f"{size} characters, at most {MAX_ANNOTATIONS}: keep large data in a file"))
    return kept
