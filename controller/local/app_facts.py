"""What is known of a revision's app after its check, and which questions it was asked; pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from api.component_scopes import permits
from api.model import App, AppDeclaration, Component, Workload
from functions_framework.zygote_wire import Descriptor

CREDIT = {"http": 32, "grpc": 10}
"""Work in flight per replica where nobody says: what Dapr's own gRPC servers for Python take, and more over HTTP."""


class Binding(msgspec.Struct, frozen=True, order=True):
    """An input binding that an app may want."""

    name: str
    path: str = ""
    """Where it takes the events over HTTP, if not under the binding's name."""
    sure: bool = False
    """The component says that it is an input: nobody is asked."""


class AppFacts(msgspec.Struct, frozen=True):
    """What a revision's app said, and to which question."""

    declared: AppDeclaration
    asked: tuple[Binding, ...] = ()


def bindings(components: Iterable[Component], app: App) -> tuple[Binding, ...]:
    """Every binding that *app* may use as an input, as far as the components tell."""
    found = {one.name: one for one in _own_last(components) if one.type.startswith("bindings.") and permits(one, app)}
    return tuple(sorted(binding for one in found.values() if (binding := _binding(one)) is not None))


def descriptor(workload: Workload, *, listens: bool) -> Descriptor:
    """What a replica of an app can take: nothing where it does not listen."""
    credit = (workload.concurrency or CREDIT[workload.protocol]) if listens else 0
    return Descriptor(concurrency=credit, ordered=False)


def handlers(workload: Workload, declared: AppDeclaration, *, listens: bool) -> list[str]:
    """What `describe` shows of an app."""
    if not listens:
        return ["only calls the Dapr API: it listens nowhere"]
    topics = [f"{one.path or '/'} ({one.pubsub}/{one.topic})" for one in declared.subscriptions]
    return topics + [f"/{name} (binding)" for name in declared.bindings] or [f"app over {workload.protocol}"]


def _own_last(components: Iterable[Component]) -> list[Component]:
    """An app's own component hides the namespace's of the same name."""
    return sorted(components, key=lambda one: (bool(one.owner), one.key))


def _binding(component: Component) -> Binding | None:
    """None: the component says that it is an output only."""
    plain = {name.lower(): value for name, value in component.metadata.items() if isinstance(value, str)}
    direction = plain.get("direction", "").lower()
    if direction and "input" not in direction:
        return None
    return Binding(component.name, plain.get("route", ""), bool(direction))
