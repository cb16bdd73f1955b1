"""The Snapshot of one namespace: what proxies and gateways act on, sorted and byte-stable; pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from api.meta import Key
from api.model import App, Backend, Bus, Component, Join, Route, Snapshot, Source, Subscription, digest
from controller.bridges import bridges
from controller.readers.streaming import bounded

DEFAULT_BUS = "default"


def default_bus(namespace: str) -> Bus:
    """The platform's own broker, which every namespace has without declaring it; who connects fills its address in."""
    return Bus(key=Key(namespace, DEFAULT_BUS), kind="nats")


def snapshot(
    namespace: str,
    *,
    routes: Iterable[Route] = (),
    subscriptions: Iterable[Subscription] = (),
    sources: Iterable[Source] = (),
    joins: Iterable[Join] = (),
    buses: Iterable[Bus] = (),
    components: Iterable[Component] = (),
    apps: Iterable[App] = (),
) -> Snapshot:
    """Sorted by key, with the digest of its content; adds the default bus where it is not declared."""
    known = {bus.key: bus for bus in buses}
    known.setdefault(Key(namespace, DEFAULT_BUS), default_bus(namespace))
    read = sorted((bounded(one, known.get(one.bus)) for one in subscriptions), key=_key)
    content = Snapshot(
        namespace=namespace,
        routes=tuple(sorted(routes, key=_key)),
        subscriptions=tuple(read),
        sources=tuple(sorted((*sources, *bridges(read, known)), key=_key)),
        joins=tuple(sorted(joins, key=_key)),
        buses=tuple(known[key] for key in sorted(known)),
        components=tuple(sorted(components, key=_key)),
        apps=tuple(sorted(apps, key=_key)),
    )
    return msgspec.structs.replace(content, digest=digest(content))


def routed(route: Route, backends: tuple[Backend, ...], taken: Iterable[str] = ()) -> Route:
    """*route* with its backends, without the hosts that another function already has."""
    hosts = set(route.hosts) - set(taken)
    return msgspec.structs.replace(
        route, backends=backends, hosts=tuple(sorted(hosts)), matches=tuple(sorted(route.matches, key=digest))
    )


def delivered(subscription: Subscription, backends: tuple[Backend, ...]) -> Subscription:
    """*subscription* with its backends; events hash over weights, so tags without weight get none."""
    return msgspec.structs.replace(subscription, backends=tuple(one for one in backends if one.weight))


def resolves(bus: Key, buses: Collection[Key]) -> bool:
    """Whether *bus* is there: declared, or the one that every namespace has."""
    return bus.name == DEFAULT_BUS or bus in buses


def _key(item: Route | Subscription | Source | Join | Component | App) -> Key:
    return item.key
