"""Input bindings: which of them an app takes, and the subscription that hands it what they brought; pure."""

from __future__ import annotations

from collections.abc import Sequence

from api.delivery import DeliveryPolicy
from api.meta import Key
from api.model import App, Component, Subscription
from controller.readers import names


def takes(component: Component, declared: Sequence[str]) -> bool:
    """Whether an app takes the events of an input binding: the component says so, or the app did when it was asked."""
    direction = _setting(component, "direction").lower()
    return "input" in direction if direction else component.name in declared


def bound(app: App, component: Component, delivery: DeliveryPolicy) -> Subscription:
    """Everything that *component* brings, from its first event on: it waits for this app only."""
    key = names.bound(app.key, component.name)
    return Subscription(
        key=key,
        bus=Key(app.key.namespace, names.DEFAULT_BUS),
        subject=names.bound_subject(app.key, component.name),
        group=key.name,
        trigger=app.key.name,
        path="/" + (_setting(component, "route") or component.name).lstrip("/"),
        form="binding",
        delivery=delivery,
        start="all",
    )


def _setting(component: Component, name: str) -> str:
    values = {key.lower(): value for key, value in component.metadata.items()}
    found = values.get(name, "")
    return found.strip() if isinstance(found, str) else ""
