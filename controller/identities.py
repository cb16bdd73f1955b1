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

APP_ID = f"{apps.FIELD}.{apps.PREFIX}app-id"
NO_SECRETS = (ApiRule(name="secrets"), ApiRule(name="secrets", version="v1", protocol="grpc"))
"""Denied to an app whose Configuration is not there: it may have said so."""


FIELD = "appId"
"""Field of a Function's status: the app id that it has."""


def told_apart(
    functions: Mapping[Key, FunctionModel],
    configurations: Mapping[Key, ConfigurationModel],
    held: Mapping[Key, str],
) -> dict[Key, FunctionModel]:
    """Functions of one namespace, each with the problems that only show beside the others.

    *held* are the app ids of their statuses. Progress stands under the id, so whoever has one keeps it: from others who
    claim it, and from a mistake in his own next spec.
    """
    kept = {key: _kept(model, held.get(key, "")) for key, model in sorted(functions.items())}
    owners = _owners({key: model.app.id for key, model in kept.items()}, held)
    found = {}
    for key, model in kept.items():
        problems = tuple(_problems(model, owners, configurations))
        mine = owners[model.app.id] == key
        found[key] = msgspec.structs.replace(model, problems=(*model.problems, *problems), identified=mine)
    return found


def _kept(model: FunctionModel, held: str) -> FunctionModel:
    wrong = any(problem.path == APP_ID for problem in model.problems)
    if not (wrong and held):
        return model
    return msgspec.structs.replace(model, app=msgspec.structs.replace(model.app, id=held))


def _owners(ids: Mapping[Key, str], held: Mapping[Key, str]) -> dict[str, Key]:
    """App id -> the function that has it: who had it before, else who is called so, else the first by name."""
    ranked = sorted(ids, key=lambda key: (held.get(key) != ids[key], ids[key] != key.name, key))
    found: dict[str, Key] = {}
    for key in ranked:
        found.setdefault(ids[key], key)
    return found


def apps_of(namespace: str, models: Models) -> tuple[App, ...]:
    """Functions of *namespace* by name, without those whose app id is another's, bound by their Configurations."""
    here = (model for key, model in sorted(models.functions.items()) if key.namespace == namespace and model.identified)
    return tuple(_bound(model, models.configurations) for model in here)


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
    known = models.visible(app.key)
    usable = [one.component for one in known if not one.problems and permits(one.component, app)]
    return merged, resiliency.calls(merged, usable, [one.id for one in others])


def _problems(
    model: FunctionModel, owners: Mapping[str, Key], configurations: Mapping[Key, ConfigurationModel]
) -> Iterator[Problem]:
    owner = owners[model.app.id]
    if owner != model.app.key:
        message = f"app id {model.app.id} belongs to function {owner.name}; choose another"
        yield Problem(code="Conflict", path=APP_ID, message=message)
    if model.configuration and Key(owner.namespace, model.configuration) not in configurations:
        message = f"there is no Configuration `{model.configuration[:80]}` in this namespace"
        yield Problem(code="Invalid", path=f"{apps.FIELD}.{apps.PREFIX}config", message=message)
