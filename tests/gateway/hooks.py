"""Webhooks in a gateway's world."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from api.frames import SourceReading
from api.meta import Key
from api.model import Option, Source
from tests.gateway.world import HELLO, World

BUS = Key("default", "default")
PATH = "/webhook/default/hooks/push"


def hook(name: str = "hooks.push", **options: Option) -> Source:
    key = Key("default", name)
    return Source(key=key, kind="http", bus=BUS, subject=f"default.{name}", options=options)


async def serve(here: World, *sources: Source) -> None:
    """Publish *sources*; they are served once the last one is."""
    here.publish(HELLO, sources=sources)
    path = sources[-1].options.get("path") or "/webhook/default/" + sources[-1].key.name.replace(".", "/")
    assert isinstance(path, str)
    while (await here.fetch(path))[0] != 405:  # noqa: ASYNC110 - what is observed is the other end
        await asyncio.sleep(0.002)


async def stored(here: World, name: str = "hooks.push", count: int = 1) -> list[dict[str, Any]]:
    tail: AsyncIterator[Any] = here.bus.tail(f"default.{name}", since=datetime(1970, 1, 1, tzinfo=UTC))
    return [msgspec.json.decode((await anext(tail)).payload) for _ in range(count)]


async def reading(here: World, want: Any, name: str = "hooks.push") -> SourceReading:
    """The first report about *name* that *want* accepts."""
    while True:
        for state in here.controller.agents.values():
            for one in state.readings.sources if state.readings else ():
                if one.source.name == name and want(one):
                    return one
        await asyncio.sleep(0.01)
