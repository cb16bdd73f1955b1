"""What an app means by the name of a pub/sub component, and which topics the broker behind it takes; pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from api import topics
from api.component_scopes import permits
from api.meta import Key
from api.model import App, Component, Option
from controller.reading import Models
from controller.snapshot import resolves

_SHARED = "$share/"
"""Before a topic filter of MQTT: a group of its own broker's, which one session per filter does not need."""


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """Where an app's topics are."""

    name: str
    bus: Key
    kind: str
    """Of the bus; empty: not known."""
    component: Component | None = None
    """None: an EventBus."""
    group: str = ""
    """Consumer group as the component's metadata has it."""

    @property
    def type(self) -> str:
        return self.component.type if self.component else "pubsub"

    @property
    def metadata(self) -> Mapping[str, Option]:
        return self.component.metadata if self.component else {}

    @property
    def prefix(self) -> str:
        return self.component.topic_prefix if self.component else ""


def place(models: Models, app: App, name: str) -> tuple[Place | None, str]:
    """The app's own component, else one of the namespace, else an EventBus, and why that cannot be used.

    A component that does not hold still is the place: what waits there waits until it does.
    """
    namespace = app.key.namespace
    why = f"there is no pub/sub component or EventBus `{name[:80]}` in this namespace"
    for key in (Key(namespace, f"{app.key.name}/{name}"), Key(namespace, name)):
        model = models.components.get(key)
        if model is None or not model.component.type.startswith("pubsub."):
            continue
        if not permits(model.component, app):
            why = f"component {name} is not for app {app.id}"
            continue
        kind = model.bus.kind if model.bus is not None else ""
        found = Place(name=name, bus=key, kind=kind, component=model.component, group=model.group)
        return found, "" if kind else f"component {name} does not hold; its condition says why"
    bus = Key(namespace, name)
    if not resolves(bus, models.buses):
        return None, why
    return Place(name=name, bus=bus, kind=models.buses[bus].kind if bus in models.buses else "nats"), ""


def defect(where: Place, topic: str) -> str:
    """Why the broker behind *where* has no such topic; empty: it may have."""
    if where.component is None:
        return topics.subject(topic)
    if topic.startswith(topics.RESERVED) and where.kind == "nats":
        return topics.subject(topic)
    if where.kind == "kafka":
        return topics.kafka(where.prefix + topic)
    if where.kind == "mqtt":
        return topics.mqtt(where.prefix + _bare(topic))
    return topics.component(topic)


def _bare(topic: str) -> str:
    return topic.removeprefix(_SHARED).partition("/")[2] if topic.startswith(_SHARED) else topic
