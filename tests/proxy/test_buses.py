"""Buses of a process: what nobody subscribed to is trimmed as well."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from api.meta import Key
from api.model import Bus
from eventbus.errors import Unreachable
from eventbus.memory.bus import MemoryBus
from proxy.buses import Buses
from proxy.settings import ProxySettings
from tests.proxy.plant import event, until


def test_a_bus_that_nobody_subscribed_to_does_not_fill_up(tmp_path: Path) -> None:
    declared = Bus(key=Key("default", "default"), kind="memory", options={"maxBytes": "20000"})
    memory = MemoryBus(declared, str)
    settings = ProxySettings(control=tmp_path, cache=tmp_path, connect=lambda _bus, _resolve: memory)

    async def test() -> None:
        buses = Buses(settings)
        buses.declare([declared])
        link = buses.link(declared.key)
        assert link is not None
        await link.ready.wait()
        for number in range(1000):
            await memory.publish("topic", event(number))
            if number % 20 == 0:
                await buses.trim({})
        await buses.close()

    asyncio.run(test())


@pytest.mark.parametrize("url", ["nats://[::1", "nats://" + "a" * 70, "nats://a:notaport"])
def test_an_address_that_is_none_is_told_and_tried_again(tmp_path: Path, url: str) -> None:
    declared = Bus(key=Key("default", "far"), kind="nats", options={"url": url})

    async def test() -> None:
        buses = Buses(ProxySettings(control=tmp_path, cache=tmp_path))
        buses.declare([declared])
        await until(lambda: buses.readings()[0].reason == "HostUnknown", 20)
        with pytest.raises(Unreachable, match=r"a{70}|address"):
            buses.get(declared.key)
        await buses.close()

    asyncio.run(test())
