"""Hosted sources: where they keep what they must know after a restart."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import cast

import msgspec

from api.meta import Key
from api.model import Bus, Source
from eventbus.bus import EventBus
from eventbus.memory.bus import MemoryBus
from eventbus.state import StateStore
from proxy.buses import Buses
from proxy.settings import ProxySettings
from proxy.sources import KEPT, Sources

DEFAULT, OWN = Key("shop", "default"), Key("shop", "stateless")
TICK = Source(
    key=Key("shop", "clock.tick"),
    kind="cron",
    options={"schedule": "@every 100ms", "missed": "all"},
    bus=OWN,
    subject="shop.clock.tick",
)


class Stateless(MemoryBus):
    """Keeps no state, as Kafka does not."""

    async def state(self, name: str, *, ttl: timedelta) -> StateStore | None:  # type: ignore[override] # that is the point
        return None


class Connected:
    """What Sources asks of the proxy's buses."""

    def __init__(self) -> None:
        self.buses: dict[Key, EventBus] = {
            DEFAULT: MemoryBus(Bus(key=DEFAULT, kind="memory"), str),
            OWN: Stateless(Bus(key=OWN, kind="memory"), str),
        }

    def get(self, key: Key) -> EventBus | None:
        return self.buses.get(key)


def test_state_goes_to_the_default_bus_where_the_own_keeps_none(tmp_path: Path) -> None:
    async def scenario() -> None:
        buses = Connected()
        for bus in buses.buses.values():
            await bus.connect()
        settings = ProxySettings(control=tmp_path / "control.sock", cache=tmp_path)
        sources = Sources(settings, cast("Buses", buses))
        sources.assign({TICK.key: TICK}, [TICK.key])
        store = await buses.buses[DEFAULT].state("sources", ttl=KEPT)
        assert store is not None
        async with asyncio.timeout(10):
            while sources.readings()[0].published < 3:  # noqa: ASYNC110 - the clock tells
                await asyncio.sleep(0.01)
        await sources.close()
        kept = msgspec.json.decode((await store.get("shop.clock.tick")).value)
        assert kept["schedule"].strip() == "@every 100ms"

    asyncio.run(scenario())
