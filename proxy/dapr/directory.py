"""Which apps, components and routes there are; made of the snapshots."""

from __future__ import annotations

from collections.abc import Iterable

from api.component_scopes import permits
from api.meta import Key, RevisionKey
from api.model import App, Component, Route, Snapshot


class Directory:
    """Answers by name, for one app at a time; a new declaration replaces all of it."""

    def __init__(self) -> None:
        self.known = False
        """Something was declared."""
        self._snapshots: dict[str, Snapshot] = {}
        self._apps: dict[Key, App] = {}
        self._components: dict[Key, Component] = {}
        self._routes: dict[Key, Route] = {}
        self._named: dict[tuple[str, str], App] = {}

    def declare(self, snapshots: Iterable[Snapshot]) -> None:
        """These are all the namespaces there are."""
        self._snapshots = {snapshot.namespace: snapshot for snapshot in snapshots}
        self.known = True
        each = self._snapshots.values()
        self._apps = {app.key: app for one in each for app in one.apps}
        self._components = {component.key: component for one in each for component in one.components}
        self._routes = {route.key: route for one in each for route in one.routes}
        self._named = {}

    def app(self, function: Key) -> App:
        """What *function* is to the API; one that is about to go, or just came, is an app of no component."""
        return self._apps.get(function) or App(key=function, id=function.name)

    def apps(self) -> Iterable[App]:
        return self._apps.values()

    def named(self, namespace: str, name: str) -> App | None:
        """The app of *namespace* that *name* means in an invocation: an id, or the function's name."""
        where = (namespace, name)
        if where not in self._named:
            apps = self.snapshot(namespace).apps
            found = next((app for app in apps if app.id == name), None)
            found = found or next((app for app in apps if app.is_called(name)), None)
            if found is None:
                return None  # not remembered: names come from callers
            self._named[where] = found
        return self._named[where]

    def snapshot(self, namespace: str) -> Snapshot:
        return self._snapshots.get(namespace) or Snapshot(namespace=namespace)

    def component(self, app: App, name: str, kind: str) -> Component | None:
        """The component of type ``<kind>.`` that *app* means by *name*, its own first; whether it may is not asked."""
        for key in (Key(app.key.namespace, f"{app.key.name}/{name}"), Key(app.key.namespace, name)):
            found = self._components.get(key)
            if found is not None and found.type.startswith(kind):
                return found
        return None

    def is_component(self, key: Key) -> bool:
        return key in self._components

    def topic_prefix(self, bus: Key) -> str:
        """What stands before every topic of a component's bus."""
        component = self._components.get(bus)
        return component.topic_prefix if component is not None else ""

    def components(self, app: App) -> list[Component]:
        """Every component that *app* may use."""
        return [one for one in self.snapshot(app.key.namespace).components if permits(one, app)]

    def route(self, function: Key) -> Route | None:
        return self._routes.get(function)

    def revisions(self) -> frozenset[RevisionKey]:
        """Those that some route leads to."""
        return frozenset(backend.revision for route in self._routes.values() for backend in route.backends)
