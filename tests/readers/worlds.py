"""YAML read into Resources, and the scope around them."""

from __future__ import annotations

import io
from typing import Any

from api.actions import Resource
from api.documents import Document, read
from controller.readers.events import read_source
from controller.readers.function import read_function
from controller.readers.model import FunctionModel, Scope, SourceModel, TriggerModel
from controller.readers.triggers import read_trigger

FUNCTION = """\
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: hello, namespace: team}
spec:
"""
SOURCE = """\
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: plant, namespace: team}
spec:
"""
TRIGGER = """\
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata: {name: hot, namespace: team}
spec:
"""
BUS = """\
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {name: shared, namespace: team}
spec:
"""
SCOPE = Scope(
    namespace="team",
    buses=frozenset({"default"}),
    sources={"plant.readings": "default", "plant.alarms": "default"},
    functions=frozenset({"hello"}),
    capabilities=frozenset({"processes", "folders"}),
)


def resource(text: str) -> Resource:
    (document,) = read(["-"], stdin=io.BytesIO(text.encode()))
    return resource_of(document)


def resource_of(document: Document) -> Resource:
    metadata: dict[str, Any] = document.resource["metadata"]
    return Resource(
        api_version=document.info.api_version,
        kind=document.info.kind,
        key=document.key,
        uid="uid",
        generation=1,
        labels=metadata.get("labels", {}),
        annotations=metadata.get("annotations", {}),
        spec=document.spec,
    )


def indented(text: str) -> str:
    return "".join(f"  {line}\n" for line in text.strip().splitlines())


def function(text: str, scope: Scope = SCOPE) -> FunctionModel:
    """The model of a Function with *text* under its spec."""
    return read_function(resource(FUNCTION + indented(text)), scope)


def source(text: str, scope: Scope = SCOPE) -> SourceModel:
    return read_source(resource(SOURCE + indented(text)), scope)


def trigger(text: str, scope: Scope = SCOPE) -> TriggerModel:
    return read_trigger(resource(TRIGGER + indented(text)), scope)
