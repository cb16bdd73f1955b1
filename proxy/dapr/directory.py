"""Which apps, components and buses there are, and who may use which; made of the snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from api.meta import Key
from api.model import App, Bus, Component, Route, Snapshot
from proxy.dapr.caller import scoped


class Directory:
    """Answers by name, for one app at a time; a new declaration replaces all of it."""

    def __init__(self) -> None:
        self._snapshots: dict[str, Snapshot] = {}
        self._apps: dict[Key, App] = {}
        self._components: dict[Key, Component] = {}
        self._buses: dict[Key, Bus] = {}
        self._routes: dict[Key, Route] = {}
        self._named: dict[tuple[str, str], App] = {}

    def declare(self, snapshots: Iterable[Snapshot]) -> None:
        """These are all the namespaces there are."""
        self._snapshots = {snapshot.namespace: snapshot for snapshot in snapshots}
        each = self._snapshots.values()
        self._apps = {app.key: app for one in each for app in one.apps}
        self._components = {component.key: component for one in each for component in one.components}
        self._buses = {bus.key: bus for one in each for bus in one.buses}
        self._routes = {route.key: route for one in each for route in one.routes}
        self._named = {}

    def app(self, function: Key) -> App:
        """What *function* is to the API; one that is about to go, or just came, is an app of no component."""
        return self._apps.get(function) or App(key=function, id=function.name)

    def known(self, function: Key) -> bool:
        return function in self._apps

    def named(self, namespace: str, name: str) -> App | None:
        """The app of *namespace* that *name* means in an invocation: an id, or the function's name."""
        where = (namespace, name)
        if where not in self._named:
            snapshot = self._snapshots.get(namespace)
            apps = snapshot.apps if snapshot else ()
            exact = next((app for app in apps if app.id == name), None)
            found = exact or next((app for app in apps if app.is_called(name)), None)
            if found is None:
                return None  # not remembered: names come from callers
            self._named[where] = found
        return self._named[where]

    def namespaces(self) -> list[str]:
        return list(self._snapshots)

    def snapshot(self, namespace: str) -> Snapshot:
        return self._snapshots.get(namespace) or Snapshot(namespace=namespace)

    def component(self, app: App, name: str) -> Component | None:
        """The component that *app* means by *name*: its own first; scopes are not looked at."""
        own = Key(app.key.namespace, f"{app.key.name}/{name}")
        return self._components.get(own) or self._components.get(Key(app.key.namespace, name))

    def components(self, app: App) -> list[Component]:
        """Every component that *app* may use."""
        return [
            one
            for one in self.snapshot(app.key.namespace).components
            if one.owner in {"", app.key.name} and scoped(app, one.scopes)
        ]

    def bus(self, namespace: str, name: str) -> Bus | None:
        return self._buses.get(Key(namespace, name))

    def route(self, function: Key) -> Route | None:
        return self._routes.get(function)
