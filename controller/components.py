"""Whether a Dapr component is connected, out of what proxies tell of what it is made of; pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from api.actions import Observed
from api.conditions import Condition, false, true, unknown
from controller.bridges import bridges
from controller.readers.model import ComponentModel
from controller.subscribing import Subscribed
from proxy.components import registry


def connected(models: Iterable[ComponentModel], dapr: Subscribed, observed: Observed) -> Condition:
    """Condition Connected of a Component, or of all that a Function declares for itself; True where nobody uses them
    and nothing connects."""
    told: list[str | None] = []
    for model in models:
        for fact in _told(model, dapr, observed):
            if fact:
                reason, _, message = fact.partition(": ")
                return false(
                    "Connected", reason, f"{model.component.name}: {message}" if model.component.owner else message
                )
            told.append(fact)
    if any(fact is None for fact in told):
        return unknown("Connected", "Unassigned", "no proxy has reported it yet")
    return true("Connected", message="" if told else "no app uses it")


def _told(model: ComponentModel, dapr: Subscribed, observed: Observed) -> Iterator[str | None]:
    """What was said of each part; None: nothing yet."""
    key = model.component.key
    declared = registry.find(model.component.type, model.component.version)
    if declared is not None and declared.open is not None:
        yield observed.components.get(str(key))
    if model.bus is not None:
        yield observed.buses.get(str(key))
        read = [one for group in dapr.subscriptions.values() for one in group if one.bus == key]
        for bridge in bridges(read, {key: model.bus}):
            yield observed.sources.get(str(bridge.key), "")
    for source in dapr.sources.get(key, ()):
        yield observed.sources.get(str(source.key))
