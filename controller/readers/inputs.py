"""What brings a Function its events by its own word: triggers.dapr and triggers.inputs; pure.

A name is that of a component of the function's own, else of an EventBus, else of a Component.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from api.delivery import DeliveryPolicy
from api.errors import Problem
from api.kinds.openfunction import DaprInput, DaprTrigger, ServingBody
from api.meta import Key
from api.model import Subscription
from controller.readers import names
from controller.readers.context import OWN, own_types
from controller.readers.model import ComponentTrigger, Scope

FIELD = "spec.serving.triggers"


class Inputs(msgspec.Struct, frozen=True, kw_only=True):
    subscriptions: tuple[Subscription, ...] = ()
    """Topics of an EventBus."""
    triggers: tuple[ComponentTrigger, ...] = ()
    problems: tuple[Problem, ...] = ()


def read_inputs(function: Key, serving: ServingBody, scope: Scope, delivery: DeliveryPolicy) -> Inputs:
    types = own_types(serving)
    subscriptions: dict[tuple[str, str], Subscription] = {}
    triggers: dict[tuple[str, str], ComponentTrigger] = {}
    problems: list[Problem] = []
    for field, given in _given(serving):
        kind = given.type or types.get(given.name) or _known(given.name, scope)
        place = (given.name, given.topic or "")
        if kind.startswith("state") or (not given.topic and kind == OWN and isinstance(given, DaprInput)):
            continue  # an input that is read, and brings no events
        bus = given.name not in types and given.name in {names.DEFAULT_BUS, *scope.buses}
        if not bus and (given.name in {*types, *scope.components} or kind.startswith("bindings") or not given.topic):
            triggers.setdefault(place, ComponentTrigger(component=given.name, topic=place[1], field=field))
        elif not given.topic:
            message = f"`{given.name}` is an EventBus: name the topic"
            problems.append(Problem(code="Invalid", path=field, message=message))
        else:
            subscriptions.setdefault(place, _subscription(function, given.name, given.topic, delivery))
    return Inputs(
        subscriptions=tuple(subscriptions.values()), triggers=tuple(triggers.values()), problems=tuple(problems)
    )


def _given(serving: ServingBody) -> Iterator[tuple[str, DaprTrigger | DaprInput]]:
    if serving.triggers is not None:
        for index, trigger in enumerate(serving.triggers.dapr):
            yield f"{FIELD}.dapr[{index}]", trigger
        for index, given in enumerate(serving.triggers.inputs):
            yield f"{FIELD}.inputs[{index}].dapr", given.dapr


def _known(name: str, scope: Scope) -> str:
    return OWN if name in {names.DEFAULT_BUS, *scope.buses} else scope.components.get(name, OWN)


def _subscription(function: Key, bus: str, topic: str, delivery: DeliveryPolicy) -> Subscription:
    key = names.own(function, bus, topic)
    return Subscription(
        key=key,
        bus=Key(function.namespace, bus),
        subject=topic,
        group=key.name,
        trigger=function.name,
        delivery=delivery,
    )
