"""pubsub.in-memory: topics of the platform itself, without a broker of the user's own.

Dapr keeps them in one sidecar and loses them with it. Here they stand in the platform's embedded broker: every proxy
sees them, and an acknowledged publish outlives a process that is killed, because that is promised of every bus.
"""

from __future__ import annotations

import msgspec

from api.model import Bus, Component
from proxy.components.declaration import ComponentMetadata, Declared


class Metadata(ComponentMetadata, frozen=True, kw_only=True):
    """Nothing has to be set."""

    consumer_id: str = msgspec.field(name="consumerID", default="")
    """Who shares the progress; empty: the app id."""


def bus(component: Component) -> Bus:
    """The event bus of the component: one of the embedded broker that keeps nothing once everybody has it."""
    return Bus(key=component.key, kind="nats", options={"retain": "0", "dapr": "true", "wildcards": "true"})


DECLARED = Declared(
    type="pubsub.in-memory",
    metadata=Metadata,
    bus=bus,
    features=("SUBSCRIBE_WILDCARDS",),
    summary="Topics of the platform's own broker",
)
