"""Components in this process, as apps of two namespaces see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from api.meta import Key, SecretKeyRef
from api.model import App, Component
from proxy.components.components import Components
from proxy.components.surroundings import Surroundings

NAMESPACE = "default"
Option = str | SecretKeyRef


def component(name: str, type_: str, metadata: dict[str, Option] | None = None, **fields: Any) -> Component:
    return Component(key=Key(NAMESPACE, name), type=type_, version="v1", metadata=metadata or {}, **fields)


def app(name: str = "orders", **fields: Any) -> App:
    given: dict[str, Any] = {"key": Key(NAMESPACE, name), "id": name, **fields}
    return App(**given)


@asynccontextmanager
async def opened(*components: Component, **around: Any) -> AsyncIterator[Components]:
    """Declared; they open as they are asked for."""
    here = Surroundings(**around)
    made = Components(here)
    made.declare(components)
    try:
        yield made
    finally:
        await made.close()
        await here.http.aclose()


async def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Let the loop run until *condition* holds; fails after *seconds*."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - any condition, of any part
            await asyncio.sleep(0.005)
