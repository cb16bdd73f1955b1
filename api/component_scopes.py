"""Which components an app may use, and which one it means by a name; pure."""

from __future__ import annotations

from collections.abc import Iterable

from api.model import App, Component


def permits(component: Component, app: App) -> bool:
    """Whether *app* may use *component*: of its namespace, declared by nobody else, in its scopes, not denied."""
    if component.key.namespace != app.key.namespace or component.owner not in {"", app.key.name}:
        return False
    if {component.type, f"{component.type}/{component.version}"} & set(app.denied_components):
        return False
    return not component.scopes or any(is_named(scope, app) for scope in component.scopes)


def is_named(scope: str, app: App) -> bool:
    """Whether an entry of ``scopes`` means *app*; ``name-namespace`` is the app id of functions of ours."""
    return app.is_called(scope) or scope == f"{app.key.name}-{app.key.namespace}"


def names(app: App) -> frozenset[str]:
    """Everything that *app* is called in scopes."""
    name, namespace = app.key.name, app.key.namespace
    return frozenset({app.id, name, f"{name}.{namespace}", f"{name}-{namespace}"})


def find(components: Iterable[Component], app: App, name: str, kind: str = "") -> Component | None:
    """What *app* means by *name* (of type ``<kind>.``): its own component first; None: there is none, or not for it.

    ``visible()`` tells whether there is one that it may not use.
    """
    usable = [one for one in visible(components, app, name, kind) if permits(one, app)]
    return max(usable, key=lambda one: bool(one.owner), default=None)


def visible(components: Iterable[Component], app: App, name: str, kind: str = "") -> list[Component]:
    """Components called *name* in the namespace of *app*, whether it may use them or not."""
    return [
        one
        for one in components
        if one.name == name
        and one.key.namespace == app.key.namespace
        and one.owner in {"", app.key.name}
        and (not kind or one.type.startswith(f"{kind}."))
    ]
