"""How many dead letters a function has: the proxy counts them in the broker, as counters would end with the proxy."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from api.errors import EvokeError
from api.meta import Key
from replicas.http import HttpClient

FRESH = 1.0
"""Seconds for which an answer is used again: `top` and `describe` ask in turn."""
PATIENCE = 2.0
"""Seconds within which the proxy must have counted."""


class Letters:
    """Asks the operations API of the proxy that listens on *path*."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._address, self._clock = f"unix:{path}", clock
        self._client = HttpClient()
        self._known: dict[Key, tuple[float, int]] = {}

    async def count(self, function: Key) -> int | None:
        """Letters of all subscriptions of *function*; None when the proxy does not answer."""
        at, count = self._known.get(function, (0.0, 0))
        if at and self._clock() - at < FRESH:
            return count
        try:
            async with asyncio.timeout(PATIENCE):
                count = await self._ask(function)
        except (EvokeError, TimeoutError):
            return None
        self._known[function] = (self._clock(), count)
        return count

    async def _ask(self, function: Key) -> int:
        target = f"/v1/namespaces/{function.namespace}/dead-letters/{function.name}"
        reply = await self._client.request(self._address, "GET", target, (), timeout=PATIENCE)
        lines = 0
        async for chunk in reply.stream():
            lines += chunk.count(b"\n")
        return lines if reply.status == 200 else 0  # 404: nothing brings it events

    async def aclose(self) -> None:
        """Drop the connection."""
        await self._client.aclose()
