"""Resource files of apps -> the resources that planners see; each app has those of its own folders."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from api import documents
from api.actions import Resource
from api.files import SUFFIXES
from api.meta import Key
from cli.dapr.settings import NAMESPACE, AppRun
from cli.errors import MissingFile

KINDS = ("Component", "Subscription", "Resiliency", "Configuration")
_PRIVATE = ("APP_API_TOKEN", "DAPR_API_TOKEN")
"""Variables that no envRef may read."""


def load(apps: Sequence[AppRun], environ: Mapping[str, str] = os.environ) -> tuple[Resource, ...]:
    """Functions of *apps* and what their folders declare.

    A folder that not all of them name declares for those alone that name it. Raises InvalidInput, MissingFile.
    """
    found: list[Resource] = []
    folders = dict.fromkeys(path.absolute() for app in apps for path in app.resources)
    for folder in folders:
        users = [app for app in apps if folder in {path.absolute() for path in app.resources}]
        read = _read(folder, environ)
        found += read if len(users) == len(apps) else [_of(one, app) for app in users for one in read]
    for app in apps:
        configurations = [one for path in app.config for one in _read(path, environ) if one.kind == "Configuration"]
        key = Key(NAMESPACE, f"{app.key.name}-config")
        found += [msgspec.structs.replace(one, key=key) for one in configurations[-1:]]
        found.append(function(app, key.name if configurations else ""))
    return tuple(_unique(found))


def function(app: AppRun, configuration: str = "") -> Resource:
    """The Function that *app* stands for; *configuration* names a Configuration, or is empty."""
    written = app.function(configuration)
    return _resource(written, documents.decode(written))


def _read(path: Path, environ: Mapping[str, str]) -> list[Resource]:
    if not path.exists():
        raise MissingFile(path)
    if path.is_dir() and not any(one.suffix in SUFFIXES for one in path.iterdir()):
        return []
    sent = []
    for file, node in documents.trees([path]):
        plain = node.plain()
        kind = plain.get("kind") if isinstance(plain, dict) else None
        if kind is not None and kind not in KINDS:
            continue  # such folders hold what is for other tools too
        sent.append({"resource": _with_environment(plain, environ), "file": file, "line": node.line})
    found = documents.decode_all(sent, namespace=NAMESPACE)
    return [_resource(one.resource, one.spec) for one in found]


def _with_environment(resource: Any, environ: Mapping[str, str]) -> Any:
    """*resource* with the values of its envRefs: here the environment is its user's own."""
    if not isinstance(resource, dict) or resource.get("kind") != "Component":
        return resource
    spec = resource.get("spec")
    items = spec.get("metadata") if isinstance(spec, dict) else None
    if not isinstance(spec, dict) or not isinstance(items, list):
        return resource
    made = [
        {"name": item["name"], "value": "" if item["envRef"] in _PRIVATE else environ.get(item["envRef"], "")}
        if isinstance(item, dict) and item.keys() == {"name", "envRef"}
        else item
        for item in items
    ]
    return {**resource, "spec": {**spec, "metadata": made}}


def _resource(written: Mapping[str, Any], spec: Any) -> Resource:
    metadata = written.get("metadata") or {}
    return Resource(
        api_version=str(written["apiVersion"]),
        kind=str(written["kind"]),
        key=Key(NAMESPACE, str(metadata.get("name"))),
        uid=f"{written['kind']}-{metadata.get('name')}",
        generation=1,
        spec=spec,
    )


def _of(resource: Resource, app: AppRun) -> Resource:
    """*resource* for one app alone."""
    name = resource.key.name
    if resource.kind == "Component":
        # a function's own component is found first when it asks for a name
        return msgspec.structs.replace(resource, key=Key(NAMESPACE, f"{app.key.name}/{name}"))
    spec = resource.spec
    if hasattr(spec, "scopes"):
        meant = not spec.scopes or app.id in spec.scopes
        spec = msgspec.structs.replace(spec, scopes=(app.id,) if meant else spec.scopes)
    return msgspec.structs.replace(resource, key=Key(NAMESPACE, f"{app.key.name}-{name}"), spec=spec)


def _unique(resources: Sequence[Resource]) -> list[Resource]:
    """Of two resources of one kind and name the first, as daprd takes them."""
    found: dict[tuple[str, Key], Resource] = {}
    for one in resources:
        found.setdefault((one.kind, one.key), one)
    return list(found.values())
