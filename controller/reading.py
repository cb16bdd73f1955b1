"""Resources to the neutral model: every reader run once, with the names around it; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from typing import TypeVar

import msgspec

from api.actions import Resource
from api.errors import InvalidInput, Problem
from api.meta import Key
from api.model import Bus, Join, Source, Subscription
from controller.identities import FIELD as APP_ID
from controller.identities import told_apart
from controller.readers.components import read_component
from controller.readers.dapr import read_configuration, read_subscription
from controller.readers.events import read_bus, read_source
from controller.readers.function import read_function
from controller.readers.model import (
    ComponentModel,
    ConfigurationModel,
    FunctionModel,
    ResiliencyModel,
    Scope,
    SourceModel,
    SubscriptionModel,
    TriggerModel,
)
from controller.readers.resiliency import read_resiliency
from controller.readers.triggers import read_trigger
from controller.snapshot import DEFAULT_BUS

Read = TypeVar("Read")

PLATFORM_NAMESPACE = "default"
"""It has its bus before anything is declared."""


class Models(msgspec.Struct, kw_only=True):
    """Everything that was declared, read; a resource whose reader refused it stands in *refused* only."""

    functions: dict[Key, FunctionModel] = {}
    buses: dict[Key, Bus] = {}
    """Per namespace; cluster-wide ones under the name they have in each."""
    sources: dict[Key, SourceModel] = {}
    triggers: dict[Key, TriggerModel] = {}
    components: dict[Key, ComponentModel] = {}
    """Those of functions under ``<function>/<name>``."""
    shared: dict[str, tuple[ComponentModel, ...]] = {}
    """Namespace -> those of its resources, by name."""
    declared: dict[Key, SubscriptionModel] = {}
    """Subscriptions of dapr.io."""
    configurations: dict[Key, ConfigurationModel] = {}
    resiliencies: dict[Key, ResiliencyModel] = {}
    refused: dict[tuple[str, Key], tuple[Problem, ...]] = {}
    namespaces: tuple[str, ...] = ()

    def subscriptions(self, namespace: str) -> Iterable[tuple[Subscription, Key | None]]:
        """Every subscription of a namespace with the function that gets its events; None: they go to its sink."""
        for key, model in self.functions.items():
            if key.namespace == namespace:
                yield from ((one, key) for one in model.subscriptions)
        for group in (self.sources, self.triggers):
            for key, owner in group.items():
                if key.namespace == namespace:
                    for one in owner.subscriptions:
                        yield self._inherited(one, owner), owner.functions.get(one.key)

    def _inherited(self, subscription: Subscription, owner: SourceModel | TriggerModel) -> Subscription:
        """*subscription* with its function's delivery where it declares none."""
        key = owner.functions.get(subscription.key)
        function = self.functions.get(key) if key is not None else None
        if subscription.key not in owner.inherit or function is None:
            return subscription
        dead_letter = subscription.delivery.dead_letter or function.delivery.dead_letter
        delivery = msgspec.structs.replace(function.delivery, dead_letter=dead_letter)
        return msgspec.structs.replace(subscription, delivery=delivery)

    def visible(self, function: Key) -> tuple[ComponentModel, ...]:
        """Components that *function* may have, its own first; scopes are not asked."""
        return (*self.functions[function].components, *self.shared.get(function.namespace, ()))

    def said(self) -> dict[tuple[str, Key], tuple[Problem, ...]]:
        """(Kind, key) -> what its reader has to say of it."""
        found = dict(self.refused)
        for kind, group in (
            ("Component", self.components),
            ("EventSource", self.sources),
            ("Function", self.functions),
            ("Resiliency", self.resiliencies),
            ("Subscription", self.declared),
            ("Trigger", self.triggers),
        ):
            found |= {(kind, key): (*model.problems, *model.notes) for key, model in group.items()}
        return found | {("Configuration", key): model.notes for key, model in self.configurations.items()}

    def joins(self, namespace: str) -> Iterable[Join]:
        for key, model in self.triggers.items():
            if key.namespace == namespace:
                yield from model.joins

    def events(self, namespace: str) -> Iterable[Source]:
        for key, model in self.sources.items():
            if key.namespace == namespace:
                yield from model.sources


def read(resources: Iterable[Resource], capabilities: Collection[str], also: Iterable[str] = ()) -> Models:
    """Read everything that is not being deleted; *also* names namespaces that stand without resources."""
    alive = [resource for resource in resources if not resource.deleting]
    named = {resource.key.namespace for resource in alive if resource.key.namespace}
    models = Models(namespaces=tuple(sorted({*named, *also, PLATFORM_NAMESPACE})))
    of = _by_kind(alive)
    _read_buses(of, models)
    for namespace in models.namespaces:
        scope = Scope(
            namespace=namespace,
            buses=frozenset({DEFAULT_BUS, *(key.name for key in models.buses if key.namespace == namespace)}),
            functions=frozenset(one.key.name for one in of.get("Function", ()) if one.key.namespace == namespace),
            capabilities=frozenset(capabilities),
        )
        _read_namespace(of, models, scope)
    return models


def _read_buses(of: dict[str, list[Resource]], models: Models) -> None:
    for resource in of.get("ClusterEventBus", ()):
        bus = _try(models, resource, partial(read_bus, resource))
        if bus is None:
            continue
        for namespace in models.namespaces:
            key = Key(namespace, resource.key.name)
            models.buses[key] = msgspec.structs.replace(bus, key=key)
    for resource in of.get("EventBus", ()):
        bus = _try(models, resource, partial(read_bus, resource))
        if bus is not None:
            models.buses[resource.key] = bus


def _read_namespace(of: dict[str, list[Resource]], models: Models, scope: Scope) -> None:
    def here(kind: str) -> list[Resource]:
        return [resource for resource in of.get(kind, ()) if resource.key.namespace == scope.namespace]

    def read_all(kind: str, into: dict[Key, Read], reader: Callable[[Resource, Scope], Read]) -> None:
        for resource in here(kind):
            model = _try(models, resource, partial(reader, resource, scope))
            if model is not None:
                into[resource.key] = model

    read_all("EventSource", models.sources, read_source)
    read_all("Component", models.components, read_component)
    models.shared[scope.namespace] = tuple(
        models.components[one.key] for one in here("Component") if one.key in models.components
    )
    scope = msgspec.structs.replace(
        scope,
        sources={source.key.name: source.bus.name for source in models.events(scope.namespace)},
        components=_types(models, scope.namespace),
    )
    read_all("Function", models.functions, read_function)
    read_all("Trigger", models.triggers, read_trigger)
    read_all("Subscription", models.declared, read_subscription)
    read_all("Configuration", models.configurations, read_configuration)
    read_all("Resiliency", models.resiliencies, read_resiliency)
    mine = {key: model for key, model in models.functions.items() if key.namespace == scope.namespace}
    models.components.update({one.component.key: one for model in mine.values() for one in model.components})
    held = {one.key: str(one.status.get(APP_ID, "")) for one in here("Function")}
    models.functions.update(told_apart(mine, models.configurations, held))


def _types(models: Models, namespace: str) -> dict[str, str]:
    """Component -> its type, of those that hold."""
    return {
        key.name: model.component.type
        for key, model in models.components.items()
        if key.namespace == namespace and not model.problems
    }


def _by_kind(resources: Iterable[Resource]) -> dict[str, list[Resource]]:
    found: dict[str, list[Resource]] = {}
    for resource in resources:
        found.setdefault(resource.kind, []).append(resource)
    return found


def _try(models: Models, resource: Resource, reader: Callable[[], Read]) -> Read | None:
    if resource.problems:
        models.refused[resource.kind, resource.key] = resource.problems
        return None
    try:
        return reader()
    except InvalidInput as error:
        models.refused[resource.kind, resource.key] = error.problems
        return None
