"""An input binding with all that carries it: its source as a proxy runs it, and what is stored of it for the app."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Self

from api.meta import Key
from api.model import Bus, Component, Subscription
from eventbus import raw
from eventbus.bus import EventBus, Incoming
from proxy.components import registry
from tests.brokers import Nats
from tests.contract.harness import Owner
from tests.proxy.components.pubsub_world import World


class Binding:
    """Of one function."""

    def __init__(self, directory: Path, nats: Nats, type_: str, metadata: Mapping[str, str], name: str = "in") -> None:
        self.world = World(directory, nats, "pubsub.in-memory", {})
        namespace = self.world.namespace
        self.world.declared = Bus(key=Key(namespace, "default"), kind="nats")
        component = Component(key=Key(namespace, name), type=type_, version="v1", metadata=dict(metadata))
        assert registry.problems(component) == ()
        declared = registry.find(type_)
        assert declared is not None
        assert declared.source is not None
        subject = f"evoke.binding.{namespace}.app.{name}"
        self.source = declared.source(component, Key(namespace, "app"), subject)
        self.subscription = Subscription(
            key=Key(namespace, "app.in"),
            bus=self.world.declared.key,
            subject=subject,
            group="app",
            path="/in",
            form="binding",
            start="all",
        )
        self.owner: Owner

    async def __aenter__(self) -> Self:
        await self.world.__aenter__()
        self.world.buses.openings.declare([self.subscription])
        self.owner = await Owner.open(self.bus, self.subscription)
        self.run()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.owner.intake.close()
        await self.world.__aexit__(*error)

    @property
    def bus(self) -> EventBus:
        return self.world.bus

    def run(self, *, hosted: bool = True) -> None:
        """Host the source in this process, or no more."""
        self.world.sources.assign({self.source.key: self.source}, [self.source.key] if hosted else [])

    async def take(self, count: int) -> list[Incoming]:
        return await self.owner.take(count)


def body(incoming: Incoming) -> bytes:
    """What the app is handed."""
    return raw.content(incoming.payload)
