"""A pub/sub component with all that carries it: its bus and bridges as a proxy runs them, owners and real replicas."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Self

from api.meta import Key
from api.model import Backend, Bus, Component, Snapshot, Subscription
from api.platform import Platform
from controller.snapshot import snapshot
from eventbus.bus import EventBus
from proxy.buses import Buses
from proxy.components import registry
from proxy.settings import ProxySettings
from proxy.sources import Sources
from tests.brokers import Nats
from tests.proxy.plant import FAST, REVISION, Plant, Replica

WITHIN = 30.0
_namespaces = itertools.count()


class Joined:
    """A bus that is connected already."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus

    async def connect(self) -> str:
        return "connected"

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)


class World:
    """One component of a namespace of its own, on a platform whose embedded broker is *nats*."""

    def __init__(
        self,
        directory: Path,
        nats: Nats,
        type_: str,
        metadata: Mapping[str, str],
        name: str = "bus",
        namespace: str = "",
    ) -> None:
        """*namespace*: that of another world, whose next proxy this is; empty: a new one."""
        self.namespace = namespace or f"w{next(_namespaces)}"
        component = Component(key=Key(self.namespace, "bus"), type=type_, version="v1", metadata=dict(metadata))
        assert registry.problems(component) == ()
        declared = registry.find(type_)
        assert declared is not None
        assert declared.bus is not None
        self.declared: Bus = declared.bus(component)
        where = nats.url.removeprefix("nats://")
        self.platform = Platform(
            http="h:1",
            mqtt="h:2",
            nats=where,
            dapr="h:3",
            nats_user=nats.user,
            nats_password=nats.password,
            key="0" * 64,
        )
        settings = ProxySettings(control=directory / "control", cache=directory, platform=self.platform)
        self.buses = Buses(settings)
        self.sources = Sources(settings, self.buses)
        self.subscriptions: list[Subscription] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.buses.declare([self.declared])
        link = self.buses.link(self.declared.key)
        assert link is not None
        async with asyncio.timeout(WITHIN):
            await link.ready.wait()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self._stack.aclose()
        await self.sources.close()
        await self.buses.close()

    @property
    def bus(self) -> EventBus:
        found = self.buses.get(self.declared.key)
        assert found is not None
        return found

    def snapshot(self) -> Snapshot:
        return snapshot(self.namespace, subscriptions=self.subscriptions, buses=[self.declared])

    async def subscribe(self, topic: str, replica: Replica | None = None, group: str = "app", **fields: Any) -> Plant:
        """A subscription of one app, with its bridge and its owner; torn down at the end."""
        one = Subscription(
            key=Key(self.namespace, f"{group}.{topic}"),
            bus=self.declared.key,
            subject=topic,
            group=group,
            backends=(Backend(revision=REVISION),),
            **{"delivery": FAST, "start": "new", **fields},
        )
        self.subscriptions.append(one)
        self.apply()
        plant = Plant(one, Joined(self.bus))  # type: ignore[arg-type]  # it hands on what it does not have
        await self._stack.enter_async_context(plant)
        if replica is not None:
            await plant.scale(replica)
        await self.bridged()
        return plant

    def apply(self) -> None:
        """As a new Config and Assign would."""
        made = self.snapshot()
        self.buses.openings.declare(made.subscriptions)
        self.sources.assign({source.key: source for source in made.sources}, [source.key for source in made.sources])

    async def bridged(self) -> None:
        """Return when every bridge brings what is published."""
        for one in self.subscriptions:
            async with asyncio.timeout(WITHIN):
                while True:
                    try:
                        await self.bus.lag(one)
                    except Exception:  # whatever it is, it is not there yet
                        await asyncio.sleep(0.02)
                    else:
                        break


def run(world: World, test: Callable[[World], Coroutine[Any, Any, None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(90), world:
            await test(world)

    asyncio.run(main())


def topic(world: World, name: str = "orders") -> str:
    """One that no other test has."""
    return f"t.{world.namespace}.{name}"
