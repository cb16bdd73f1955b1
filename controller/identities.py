"""What functions are to the Dapr API: one app id each, and a Configuration that is there; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import msgspec

from api.component_scopes import permits
from api.errors import Problem
from api.meta import Key
from api.model import ApiRule, App, Resilience
from controller.readers import apps, resiliency
from controller.readers.model import ConfigurationModel, FunctionModel, ResiliencyModel

if TYPE_CHECKING:
    from controller.reading import Models

NO_SECRETS = (ApiRule(name="secrets"), ApiRule(name="secrets", version="v1", protocol="grpc"))
"""Denied to an app whose Configuration is not there: it may have said so."""


def told_apart(
    namespace: str, functions: Mapping[Key, FunctionModel], configurations: Mapping[Key, ConfigurationModel]
) -> dict[Key, FunctionModel]:
    """Functions of *namespace*, each with the problems that only show beside the others."""
    owners = owners_of(namespace, functions)
    found = {}
    for key, model in functions.items():
        if key.namespace == namespace:
            problems = tuple(_problems(model, owners, configurations))
            found[key] = msgspec.structs.replace(model, problems=(*model.problems, *problems)) if problems else model
    return found


def owners_of(namespace: str, functions: Mapping[Key, FunctionModel]) -> dict[str, Key]:
    """App id -> the function that has it: whoever is called so, else the first by name."""
    here = sorted(key for key in functions if key.namespace == namespace)
    found = {functions[key].app.id: key for key in here if functions[key].app.id == key.name}
    for key in here:
        found.setdefault(functions[key].app.id, key)
    return found


def apps_of(namespace: str, models: Models) -> tuple[App, ...]:
    """Functions of *namespace* by name, without those whose app id is another's, bound by their Configurations."""
    owners = owners_of(namespace, models.functions)
    return tuple(_bound(models.functions[key], models.configurations) for key in sorted(owners.values()))


def _bound(model: FunctionModel, configurations: Mapping[Key, ConfigurationModel]) -> App:
    if not model.configuration:
        return model.app
    given = configurations.get(Key(model.app.key.namespace, model.configuration))
    if given is None:
        return msgspec.structs.replace(model.app, denied_apis=NO_SECRETS)
    return msgspec.structs.replace(
        model.app,
        secrets=given.secrets,
        allowed_apis=given.allowed,
        denied_apis=given.denied,
        denied_components=given.denied_components,
    )


def resilience_of(app: App, models: Models, others: Iterable[App]) -> tuple[ResiliencyModel, tuple[Resilience, ...]]:
    """The policies that are for *app*, and what of them guards its calls out."""
    here = [
        model
        for key, model in sorted(models.resiliencies.items())
        if key.namespace == app.key.namespace and not model.problems
    ]
    if not here:
        return ResiliencyModel(), ()
    merged = resiliency.merged(here, app)
    usable = [one.component for one in models.components.values() if not one.problems and permits(one.component, app)]
    return merged, resiliency.calls(merged, usable, [one.id for one in others])


def _problems(
    model: FunctionModel, owners: Mapping[str, Key], configurations: Mapping[Key, ConfigurationModel]
) -> Iterator[Problem]:
    owner = owners[model.app.id]
    if owner != model.app.key:
        message = f"app id {model.app.id} belongs to function {owner.name}; choose another"
        yield Problem(code="Conflict", path=f"{apps.FIELD}.{apps.PREFIX}app-id", message=message)
    if model.configuration and Key(owner.namespace, model.configuration) not in configurations:
        message = f"there is no Configuration `{model.configuration[:80]}` in this namespace"
        yield Problem(code="Invalid", path=f"{apps.FIELD}.{apps.PREFIX}config", message=message)
