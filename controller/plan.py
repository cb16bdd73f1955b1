"""``plan(world) -> Plan``: the order of the concerns, each of which stands in its own module; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta

from api.actions import Action, CancelBuild, Observed, Plan, Publish, Resource, World
from api.meta import Key
from api.model import BuildSource, Snapshot, Subscription
from controller import builds, deployment, hosts, reading, snapshot, statuses, streams
from controller.deployment import Deployment
from controller.reading import Models
from controller.subscribing import Subscribed, subscribe

SOON = timedelta(milliseconds=50)
"""Until the next plan where this one waits for the statuses to be written."""


def plan(world: World) -> Plan:
    """What to do now so that the world comes to be as declared; nothing when it is."""
    models = reading.read(world.resources, world.observed.capabilities, also=world.observed.snapshots)
    deployments = deploy(world, models)
    subscribed = {namespace: subscribe(namespace, models, deployments) for namespace in models.namespaces}
    snapshots = [describe(namespace, models, deployments, subscribed[namespace]) for namespace in models.namespaces]
    return Plan(
        actions=order(
            *(one.actions for one in deployments.values()),
            publish(snapshots, world.observed),
            remains(world),
        ),
        statuses=statuses.all_of(world, models, deployments, subscribed),
        requeue=SOON if streams.unstored(deployments, world.observed) else None,
    )


def sources(resources: Iterable[Resource]) -> tuple[tuple[Key, BuildSource], ...]:
    """What functions are built from: the argument of Substrate.observe()."""
    models = reading.read(resources, ())
    return tuple((key, model.build.source) for key, model in models.functions.items() if model.build is not None)


def deploy(world: World, models: Models) -> dict[Key, Deployment]:
    by_key = {one.key: one for one in world.resources if one.kind == "Function" and not one.deleting}
    return {
        key: deployment.deploy(by_key[key], model, world.observed, world.now)
        for key, model in sorted(models.functions.items())
    }


def describe(
    namespace: str, models: Models, deployments: Mapping[Key, Deployment], subscribed: Subscribed | None = None
) -> Snapshot:
    """The snapshot of one namespace; *subscribed* where it is known already."""
    subscribed = subscribed or subscribe(namespace, models, deployments)
    components = [one for key, one in models.components.items() if key.namespace == namespace and not one.problems]
    here = [one for key, one in deployments.items() if key.namespace == namespace]
    owned = hosts.owners(models.functions)
    return snapshot.snapshot(
        namespace,
        routes=[
            snapshot.routed(one.model.route, one.backends, hosts.lost(one.key, one.model, owned))
            for one in here
            if one.model.route is not None
        ],
        subscriptions=_subscriptions(namespace, models, deployments, subscribed),
        sources=[
            *(one for one in models.events(namespace) if snapshot.resolves(one.bus, models.buses)),
            *(one for group in subscribed.sources.values() for one in group),
        ],
        joins=[one for one in models.joins(namespace) if snapshot.resolves(one.bus, models.buses)],
        buses=[
            *(bus for key, bus in models.buses.items() if key.namespace == namespace),
            *(one.bus for one in components if one.bus is not None),
        ],
        components=[one.component for one in components],
        apps=subscribed.apps,
    )


def _subscriptions(
    namespace: str, models: Models, deployments: Mapping[Key, Deployment], subscribed: Subscribed
) -> Iterable[Subscription]:
    """What an app declares itself takes the place of its Function's trigger of the same topic."""
    found = {}
    for one, function in models.subscriptions(namespace):
        if snapshot.resolves(one.bus, models.buses):
            known = deployments.get(function) if function is not None else None
            found[one.key] = snapshot.delivered(one, known.backends if known is not None else ())
    found |= {one.key: one for group in subscribed.subscriptions.values() for one in group}
    return found.values()


def publish(snapshots: Iterable[Snapshot], observed: Observed) -> tuple[Publish, ...]:
    return tuple(Publish(snapshot=one) for one in snapshots if observed.snapshots.get(one.namespace) != one.digest)


def remains(world: World) -> tuple[Action, ...]:
    """What functions that are gone have left behind."""
    functions = {str(one.key): one.key for one in world.resources if one.kind == "Function" and not one.deleting}
    orphaned = tuple(
        CancelBuild(key=Key.parse(name), reason="the function is gone")
        for name, state in sorted(world.observed.builds.items())
        if name not in functions and state.phase == builds.RUNNING
    )
    return (*orphaned, *deployment.orphans(functions.values(), world.observed))


_ORDER = ("CancelBuild", "StartBuild", "Ensure", "Publish", "Remove")
"""Traffic leaves a revision before the revision goes."""


def order(*groups: Sequence[Action]) -> tuple[Action, ...]:
    return tuple(sorted((one for group in groups for one in group), key=lambda one: _ORDER.index(type(one).__name__)))
