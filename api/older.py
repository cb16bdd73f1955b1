"""OpenFunction's v1beta1 Function -> v1beta2, with every field that has no place there named. Pure.

Source of the older fields: apis/core/v1beta1 of OpenFunction 1.0. What is not known to either version stays where it
is, so that the strict reader names it.
"""

from __future__ import annotations

import copy
from typing import Any

import msgspec

from api.structure import Fault
from api.tree import Path
from api.yaml_reader import Reader

OLD = "core.openfunction.io/v1beta1"
NEW = "core.openfunction.io/v1beta2"
ALPHA = "core.openfunction.io/v1alpha"
Fields = dict[str, Any]


class Converted(msgspec.Struct, frozen=True):
    """*resource* is None where it cannot be converted; *lost* is what has no place, or why not."""

    resource: Fields | None
    lost: tuple[Fault, ...]


def is_older(resource: Any) -> bool:
    """Whether it is a Function of an API version that v1beta2 replaced."""
    if not isinstance(resource, dict) or resource.get("kind") != "Function":
        return False
    version = resource.get("apiVersion")
    return isinstance(version, str) and (version == OLD or version.startswith(ALPHA))


def convert(resource: Fields) -> Converted:
    """*resource* (left as it is) in v1beta2."""
    version = resource.get("apiVersion")
    if version != OLD:
        message = f"`{str(version)[:80]}` cannot be converted: only v1beta1 can; write it as {NEW}"
        return Converted(None, (Fault("E115", ("apiVersion",), message),))
    return _Conversion(copy.deepcopy(resource)).run()


class _Conversion:
    """One resource on its way; *lost* grows."""

    def __init__(self, resource: Fields) -> None:
        self.resource, self.lost = resource, list[Fault]()

    def run(self) -> Converted:
        self.resource["apiVersion"] = NEW
        spec = self.resource.get("spec")
        if not isinstance(spec, dict):
            return Converted(self.resource, ())
        if isinstance(spec.get("build"), dict):
            self._build(spec["build"])
        serving = spec.get("serving")
        if not isinstance(serving, dict):
            self._lose(spec, ("spec",), "port", "route", why="belongs to serving, which is not there")
            return Converted(self.resource, tuple(self.lost))
        if "runtime" not in serving and isinstance(serving.get("triggers"), dict):
            message = f"what follows is written as v1beta2: use {NEW}"
            return Converted(None, (Fault("E115", ("apiVersion",), message),))
        runtime = serving.pop("runtime", None)
        if runtime not in {"knative", "async"}:
            message = f"expected knative or async, got `{str(runtime)[:40]}`: what runs the function is not known"
            return Converted(None, (Fault("E111", ("spec", "serving", "runtime"), message),))
        self._scaling(serving)
        self._triggers(spec, serving, runtime)
        self._outputs(serving)
        self._states(serving)
        self._annotations(serving)
        return Converted(self.resource, tuple(self.lost))

    def _lose(self, fields: Fields, path: Path, *names: str, why: str) -> None:
        """Take *names* out of *fields*, and tell those that were there."""
        for name in names:
            if fields.pop(name, None) not in (None, "", {}, []):
                self.lost.append(Fault("E110", (*path, name), f"has no place in v1beta2 and is left out: {why}"))

    def _build(self, build: Fields) -> None:
        params = build.pop("params", None)
        if isinstance(params, dict) and params:
            shipwright = build.get("shipwright") or {}
            build["shipwright"] = shipwright
            shipwright["params"] = [{"name": name, "value": value} for name, value in params.items()]

    def _triggers(self, spec: Fields, serving: Fields, runtime: str) -> None:
        """Runtime, port, route and inputs become serving.triggers."""
        inputs = serving.pop("inputs", None)
        if runtime == "knative":
            http = {name: spec.pop(name) for name in ("port", "route") if spec.get(name) is not None}
            serving["triggers"] = {"http": http}
            if inputs:
                self.lost.append(
                    Fault("E110", ("spec", "serving", "inputs"), "left out: a synchronous function never read them")
                )
            return
        self._lose(spec, ("spec",), "port", "route", why="an asynchronous function has no address")
        found = [
            self._reference(one, serving, ("spec", "serving", "inputs", index), "inputName")
            for index, one in enumerate(inputs if isinstance(inputs, list) else ())
        ]
        for index, one in enumerate(found):
            path = ("spec", "serving", "inputs", index)
            self._lose(one, path, "metadata", why="set it in the component's metadata")
            self._lose(one, path, "operation", why="an input has none")
        serving["triggers"] = {"dapr": found} if found else {}

    def _outputs(self, serving: Fields) -> None:
        outputs = serving.get("outputs")
        if isinstance(outputs, list):
            path = ("spec", "serving", "outputs")
            serving["outputs"] = [
                {"dapr": self._reference(one, serving, (*path, index), "outputName")}
                for index, one in enumerate(outputs)
            ]

    def _reference(self, old: Any, serving: Fields, path: Path, alias: str) -> Fields:
        """``{name, component, topic, params, operation}`` -> ``{name, type, topic, metadata, operation}``."""
        one: Fields = dict(old) if isinstance(old, dict) else {}
        if not one:
            self.lost.append(Fault("E111", path, "left out: expected an object"))
        own, component, params = one.pop("name", None), one.pop("component", None), one.pop("params", None)
        kind = _type_of(component or own, serving)
        new = {"name": component or own, **({"type": kind} if kind else {}), **one}
        if own and component and own != component:
            new[alias] = own
        if params:
            new["metadata"] = params
        return new

    def _scaling(self, serving: Fields) -> None:
        """Replica counts and workload type leave KEDA's objects; the scalers go to scaleOptions.keda.triggers."""
        scalers = serving.pop("triggers", None)
        given = serving.get("scaleOptions")
        options: Fields = given if isinstance(given, dict) else {}
        keda = options.get("keda")
        path: Path = ("spec", "serving", "scaleOptions", "keda")
        for name in ("scaledObject", "scaledJob"):
            inner = keda.get(name) if isinstance(keda, dict) else None
            if not isinstance(inner, dict):
                continue
            workload = inner.pop("workloadType", None) or ("Job" if name == "scaledJob" else None)
            if workload:
                serving.setdefault("workloadType", workload)
            for old, new in (("minReplicaCount", "minReplicas"), ("maxReplicaCount", "maxReplicas")):
                self._count(inner, old, options, new, (*path, name))
        if isinstance(scalers, list) and scalers:
            self._scalers(scalers, serving)

    def _count(self, inner: Fields, old: str, options: Fields, new: str, path: Path) -> None:
        value = inner.pop(old, None)
        if value is None:
            return
        if options.get(new) in (None, value):
            options[new] = value
        else:
            self.lost.append(Fault("E110", (*path, old), f"left out: scaleOptions.{new} is {options[new]}"))

    def _scalers(self, scalers: list[Any], serving: Fields) -> None:
        options = serving.get("scaleOptions") or {}
        serving["scaleOptions"] = options
        keda = options.get("keda") or {}
        options["keda"] = keda
        kept = [dict(one) for one in scalers if isinstance(one, dict)]
        for index, one in enumerate(kept):
            wanted = {"job": "scaledJob", "object": "scaledObject"}.get(one.pop("targetKind", None) or "")
            there = [name for name in ("scaledObject", "scaledJob") if name in keda]
            if wanted and there and wanted not in there:
                path = ("spec", "serving", "triggers", index, "targetKind")
                self.lost.append(Fault("E110", path, f"left out: the function is scaled as {there[0]}"))
            elif wanted:
                keda.setdefault(wanted, {})
        keda["triggers"] = kept

    def _states(self, serving: Fields) -> None:
        states = serving.get("states")
        if isinstance(states, dict):
            serving["states"] = {name: {"spec": spec} if spec else None for name, spec in states.items()}

    def _annotations(self, serving: Fields) -> None:
        """``plugins`` and ``plugins.tracing`` become hooks and tracing."""
        places = (
            (self.resource.get("metadata"), ("metadata", "annotations")),
            (serving, ("spec", "serving", "annotations")),
        )
        for holder, path in places:
            annotations = holder.get("annotations") if isinstance(holder, dict) else None
            if not isinstance(annotations, dict):
                continue
            if hooks := self._parsed(annotations, "plugins", path):
                order = hooks.pop("order", None)
                if order:
                    hooks = {"pre": order, "post": order, **hooks}
                serving.setdefault("hooks", hooks)
            if tracing := self._parsed(annotations, "plugins.tracing", path):
                serving.setdefault("tracing", tracing)

    def _parsed(self, annotations: Fields, name: str, path: Path) -> Fields:
        """The YAML mapping in one annotation, which is taken out."""
        text = annotations.pop(name, None)
        if text is None:
            return {}
        reader = Reader("")
        found = [node.plain() for node in reader.documents(str(text).encode())]
        if len(found) == 1 and isinstance(found[0], dict) and not reader.problems:
            return found[0]
        self.lost.append(Fault("E111", (*path, name), "left out: its text is no YAML mapping"))
        return {}


def _type_of(component: Any, serving: Fields) -> str | None:
    """Type of a component that the function declares itself."""
    for group in ("bindings", "pubsub"):
        body = (serving.get(group) or {}).get(component) if isinstance(serving.get(group), dict) else None
        if isinstance(body, dict) and isinstance(body.get("type"), str):
            return str(body["type"])
    return None
