"""Component, of a resource or of a Function's own, -> neutral model; pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import msgspec

from api import support, topic_scopes
from api.actions import Resource
from api.errors import Problem
from api.kinds.dapr import ComponentBody, ComponentSpec, MetadataItem
from api.kinds.openfunction import ServingBody
from api.meta import Key, SecretKeyRef
from api.model import Bus, Component, Option
from controller.readers import templates
from controller.readers.delivery import duration
from controller.readers.model import ComponentModel, Scope
from proxy.components import registry
from proxy.components.declaration import Declared

PLATFORM_SECRETS = "kubernetes"
"""Dapr's name for the secret store that is there without being declared: the platform's own Secrets."""

_GROUPS = ("consumergroup", "consumerid")


def read_component(resource: Resource, scope: Scope) -> ComponentModel:
    """*resource* holds a ComponentSpec. Never raises: what does not hold stands in ``problems``."""
    spec: ComponentSpec = resource.spec
    store = spec.auth.secret_store if spec.auth else ""
    store = "" if store == PLATFORM_SECRETS else store
    model = _read(resource.key, spec, app_id=spec.scopes[0] if len(spec.scopes) == 1 else "", store=store)
    component = msgspec.structs.replace(model.component, scopes=spec.scopes, secret_store=store)
    notes = (*model.notes, *support.notes("Component", spec, scope.capabilities))
    problems = model.problems
    if resource.key.name in scope.buses and model.bus is not None:
        message = f"an EventBus is called `{resource.key.name}` already: name the component otherwise"
        problems = (*problems, Problem(code="Conflict", path="metadata.name", message=message))
    return msgspec.structs.replace(model, component=component, notes=notes, problems=problems)


def read_own(function: Key, serving: ServingBody, app_id: str) -> Iterator[tuple[str, ComponentModel]]:
    """What a function declares for itself, with the path of each."""
    states = {name: state.spec for name, state in serving.states.items() if state is not None and state.spec}
    for field, group in (("pubsub", serving.pubsub), ("bindings", serving.bindings), ("states", states)):
        for name, body in sorted(group.items()):
            path = f"spec.serving.{field}.{name}" + (".spec" if field == "states" else "")
            model = _read(Key(function.namespace, f"{function.name}/{name}"), body, app_id=app_id)
            yield path, _placed(model, path)


def _read(key: Key, body: ComponentBody, *, app_id: str, store: str = "") -> ComponentModel:
    given = {item.name: _option(item, store) for item in body.metadata if item.env_ref is None}
    component = Component(
        key=key,
        type=body.type.lower(),
        version=body.version.lower() or "v1",
        metadata={
            name: templates.resolve(option, component=key, app_id=app_id) if isinstance(option, str) else option
            for name, option in given.items()
        },
        ignore_errors=bool(body.ignore_errors),
        init_timeout=duration(body.init_timeout, timedelta(seconds=5)),
    )
    declared = registry.find(component.type, component.version)
    if component.type.startswith("pubsub."):
        component = msgspec.structs.replace(component, topic_prefix=templates.prefix(given, key.namespace))
    checked = _checked(component)
    problems = (*_environment(body), *(_unknown(one, component.type) for one in registry.problems(checked)))
    return ComponentModel(
        component=component,
        bus=_bus(declared, checked) if not problems else None,
        group=next((text for name in _GROUPS if (text := _text(given, name))), ""),
        problems=problems,
        notes=tuple(
            Problem(code="NotHere", path=f"spec.metadata[{name}]", message=reason)
            for name, reason in registry.notes(checked)
        ),
    )


def _checked(component: Component) -> Component:
    """*component* without the settings that every pub/sub type has: they are not the type's."""
    if not component.type.startswith("pubsub."):
        return component
    rest = {name: option for name, option in component.metadata.items() if name.lower() not in topic_scopes.SETTINGS}
    return msgspec.structs.replace(component, metadata=rest)


def _bus(declared: Declared | None, component: Component) -> Bus | None:
    return declared.bus(component) if declared is not None and declared.bus is not None else None


def _environment(body: ComponentBody) -> Iterator[Problem]:
    for index, item in enumerate(body.metadata):
        if item.env_ref is not None:
            message = "envRef would read the environment of the proxy, which all functions share: name a Secret"
            yield Problem(code="E140", path=f"spec.metadata[{index}].envRef", message=message)


def _unknown(problem: Problem, type_: str) -> Problem:
    """A type that there is not is no mistake: files of other platforms are applied as they stand."""
    if problem.code != "E128":
        return problem
    listed = ", ".join(registry.known(type_.partition(".")[0]) or registry.known())
    message = problem.message if listed in problem.message else f"{problem.message}; there is {listed}"
    return msgspec.structs.replace(problem, code="NotYet", message=message)


def _option(item: MetadataItem, store: str) -> Option:
    given = item.secret_key_ref
    if given is not None:
        return SecretKeyRef(name=given.name, key=given.key or given.name, store=store)
    return _plain(item.value)


def _plain(value: Any) -> str:
    """A value as text: what is no scalar as JSON, as Dapr hands it on."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"), sort_keys=True)


def _text(given: dict[str, Option], name: str) -> str:
    found = next((option for key, option in given.items() if key.lower() == name), "")
    return found.strip() if isinstance(found, str) else ""


def _placed(model: ComponentModel, path: str) -> ComponentModel:
    """*model* with the paths of its problems below *path*."""

    def at(problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        return tuple(msgspec.structs.replace(one, path=path + one.path.removeprefix("spec")) for one in problems)

    return msgspec.structs.replace(model, problems=at(model.problems), notes=at(model.notes))
