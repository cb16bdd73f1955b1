"""The status of every stored resource: one function per kind, one entry per kind in the table; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

import msgspec

from api import support
from api.actions import Resource, Status, World
from api.conditions import Condition, false, true
from api.meta import Key
from api.model import Subscription
from controller import authority, builds, components, hosts, identities, status, streams
from controller.bridges import bridged, bridges
from controller.deployment import Deployment
from controller.readers.model import SourceModel, TriggerModel
from controller.reading import Models
from controller.snapshot import resolves
from controller.subscribing import Subscribed


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What statuses are made of."""

    world: World
    models: Models
    deployments: Mapping[Key, Deployment]
    dapr: Mapping[str, Subscribed]
    """By namespace."""
    subscriptions: Mapping[Key, tuple[Subscription, ...]]
    """Function -> everything that brings it events."""
    owned: Mapping[str, Key]
    """Host -> the function that has it."""


def all_of(
    world: World, models: Models, deployments: Mapping[Key, Deployment], dapr: Mapping[str, Subscribed]
) -> tuple[Status, ...]:
    found: dict[Key, tuple[Subscription, ...]] = {}
    for namespace in models.namespaces:
        for subscription, function in models.subscriptions(namespace):
            if function is not None:
                found[function] = (*found.get(function, ()), subscription)
    facts = Facts(
        world=world,
        models=models,
        deployments=deployments,
        dapr=dapr,
        subscriptions=found,
        owned=hosts.owners(models.functions),
    )
    return tuple(_of(resource, facts) for resource in world.resources if not resource.deleting)


def _of(resource: Resource, facts: Facts) -> Status:
    refused = facts.models.refused.get((resource.kind, resource.key))
    if refused:
        kept = {name: resource.status[name] for name in (identities.FIELD, streams.FIELD) if name in resource.status}
        return status.status(resource, [status.accepted(refused)], **kept)
    kind = _KINDS.get(resource.kind)
    return kind(resource, facts) if kind is not None else status.not_yet(resource)


def _function(resource: Resource, facts: Facts) -> Status:
    one, observed = facts.deployments[resource.key], facts.world.observed
    dapr = facts.dapr[resource.key.namespace]
    model, subscriptions = one.model, facts.subscriptions.get(resource.key, ())
    lost = hosts.lost(resource.key, model, facts.owned)
    replicas = tuple(replica for replica in observed.replicas if replica.revision.function_key == resource.key)
    built = builds.condition(model.build, observed, str(resource.key))
    available = status.available(one.newest, one.backends, one.known, observed)
    lacking = authority.problems(one.policy, observed.capabilities)
    fields: dict[str, Any] = {
        "build": status.legacy(built),
        "serving": status.legacy(available),
        "revision": status.image(one.known),
        "revisions": status.revisions(one.known, one.backends, replicas),
        "replicas": sum(1 for replica in replicas if replica.phase == "ready"),
        "scaling": {"authority": one.policy.authority.value, "min": one.policy.min, "max": one.policy.max},
    }
    if model.identified:
        fields[identities.FIELD] = model.app.id
    if streamed := streams.remembered(one, observed):
        fields[streams.FIELD] = msgspec.to_builtins(streamed)
    public = model.route is not None and not model.route.internal
    if public:
        fields["addresses"] = status.addresses(resource.key, set(hosts.claimed(model)) - set(lost), observed)
    if model.problems:  # nothing was done for this spec; what the fields tell is of the one before
        return status.status(resource, [status.accepted(model.problems), status.active(replicas)], **fields)
    return status.status(
        resource,
        [
            status.accepted(lacking, model.notes),
            built,
            *([components.connected(model.components, dapr, observed)] if model.components else []),
            available,
            status.routed(public, lost, observed),
            _delivered(resource.key, subscriptions, facts),
            status.scaling(one.policy, resource.key, observed),
            status.active(replicas),
        ],
        **fields,
    )


def _delivered(function: Key, subscriptions: tuple[Subscription, ...], facts: Facts) -> Condition:
    """Of everything that brings a function events; what it asks for in vain outweighs the rest."""
    dapr = facts.dapr[function.namespace]
    if complaints := dapr.complaints.get(function, ()):
        return false("Subscribed", complaints[0].reason, "; ".join(one.message for one in complaints))
    keys = [one.key for one in (*subscriptions, *dapr.subscriptions.get(function, ()))]
    return status.subscribed(keys, _missing(subscriptions, facts), facts.world.observed)


def _bus(resource: Resource, facts: Facts) -> Status:
    return status.status(resource, [_honoured(resource, facts), _bus_connected([resource.key], facts)])


def _cluster_bus(resource: Resource, facts: Facts) -> Status:
    keys = status.buses_of(resource.key.name, facts.models.namespaces)
    return status.status(resource, [_honoured(resource, facts), _bus_connected(keys, facts)])


def _bus_connected(keys: Iterable[Key], facts: Facts) -> Condition:
    """Of the buses and, where a broker stands in front, of the bridges that bring its events into the store."""
    models, observed = facts.models, facts.world.observed
    keys = sorted(keys)
    asked = {key: bus for key in keys if (bus := models.buses.get(key)) is not None and bridged(bus)}
    read = [one for key in asked for one, _ in models.subscriptions(key.namespace)]
    sources = [one.key for one in bridges(read, asked)]
    known = {str(key): observed.sources[str(key)] for key in sources if str(key) in observed.sources}
    return status.connected([*keys, *sources], {**observed.buses, **known})


def _honoured(resource: Resource, facts: Facts) -> Condition:
    """Accepted of a kind whose reader has no problems of its own."""
    return status.accepted((), support.notes(resource.kind, resource.spec, facts.world.observed.capabilities))


def _source(resource: Resource, facts: Facts) -> Status:
    model, observed = facts.models.sources[resource.key], facts.world.observed
    conditions = [status.accepted(model.problems, model.notes)]
    missing = _missing(model.sources, facts)
    if model.sources or not model.problems:
        conditions.append(status.connected([one.key for one in model.sources], observed.sources, missing))
    if model.subscriptions:
        conditions.append(_subscribed(model, facts))
    fields = {"addresses": found} if (found := status.webhooks(model.sources, observed)) else {}
    return status.status(resource, conditions, **fields)


def _trigger(resource: Resource, facts: Facts) -> Status:
    model = facts.models.triggers[resource.key]
    conditions = [status.accepted(model.problems, model.notes)]
    if model.subscriptions or not model.problems:
        conditions.append(_subscribed(model, facts))
    return status.status(resource, conditions)


def _subscribed(model: SourceModel | TriggerModel, facts: Facts) -> Condition:
    """Of what a source or trigger brings to functions, which may not be there yet."""
    absent = sorted({key.name for key in model.functions.values() if key not in facts.models.functions})
    if absent:
        names = f"function {absent[0]} is" if len(absent) == 1 else f"functions {', '.join(absent)} are"
        message = f"{names} not in this namespace; the events wait on the bus"
        return false("Subscribed", "ComponentNotFound", message)
    keys = [one.key for one in model.subscriptions]
    return status.subscribed(keys, _missing(model.subscriptions, facts), facts.world.observed)


def _component(resource: Resource, facts: Facts) -> Status:
    model = facts.models.components[resource.key]
    accepted = status.accepted(model.problems, model.notes)
    if model.problems:
        return status.status(resource, [accepted])
    users, dapr = facts.world.observed, facts.dapr[resource.key.namespace]
    return status.status(resource, [accepted, components.connected([model], dapr, users)])


def _subscription(resource: Resource, facts: Facts) -> Status:
    model, dapr = facts.models.declared[resource.key], facts.dapr[resource.key.namespace]
    problems = (*model.problems, *dapr.problems.get(resource.key, ()))
    made = dapr.served.get(resource.key, ())
    conditions = [status.accepted(problems, model.notes)]
    if made or not problems:
        conditions.append(status.subscribed(made, (), facts.world.observed))
    return status.status(resource, conditions)


def _configuration(resource: Resource, facts: Facts) -> Status:
    return status.status(resource, [status.settings((), facts.models.configurations[resource.key].notes)])


def _resiliency(resource: Resource, facts: Facts) -> Status:
    model = facts.models.resiliencies[resource.key]
    return status.status(resource, [status.settings(model.problems, model.notes)])


def _secret(resource: Resource, _facts: Facts) -> Status:
    return status.status(resource, [true("Accepted")])


def _missing(users: Any, facts: Facts) -> list[str]:
    """Names of buses that are asked for and not there."""
    return sorted({one.bus.name for one in users if not resolves(one.bus, facts.models.buses)})


_Kind: TypeAlias = Callable[[Resource, Facts], Status]

_KINDS: Mapping[str, _Kind] = {
    "ClusterEventBus": _cluster_bus,
    "Component": _component,
    "Configuration": _configuration,
    "EventBus": _bus,
    "EventSource": _source,
    "Function": _function,
    "Resiliency": _resiliency,
    "Secret": _secret,
    "Subscription": _subscription,
    "Trigger": _trigger,
}
