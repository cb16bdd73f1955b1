"""From a source that is read in batches to the bus: one key's events in order, keys beside each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from api.meta import Key
from triggers.sources.source import Publish
from triggers.sources.storing import SATURATED_AFTER, Brought, Storing


class Outlet:
    """What one source brings to the bus, and how that goes."""

    def __init__(self, source: Key, uri: str, publish: Publish) -> None:
        self._storing = Storing(source, uri, publish)
        self.received = 0
        self._since: dict[int, float] = {}
        """Batch under way -> when it began (monotonic)."""

    @property
    def published(self) -> int:
        return self._storing.published

    async def store(self, batch: Sequence[Brought]) -> None:
        """Return once the bus has acknowledged all of *batch*, or what stands for it."""
        self.received += len(batch)
        lanes: dict[tuple[str, int], list[Brought]] = {}
        for number, one in enumerate(batch):
            lanes.setdefault((one.key, 0 if one.key else number), []).append(one)
        self._since[id(batch)] = time.monotonic()
        try:
            async with asyncio.TaskGroup() as tasks:
                for lane in lanes.values():
                    tasks.create_task(self._in_order(lane))
        finally:
            del self._since[id(batch)]

    def trouble(self) -> tuple[str, str]:
        """A Connected reason and its message while the bus does not keep up; else what there is to remark."""
        storing, oldest = self._storing, min(self._since.values(), default=None)
        if oldest is not None and time.monotonic() - oldest > SATURATED_AFTER:
            return "SourceSaturated", storing.trouble or "the bus is slower than the source"
        return "", storing.remark

    async def _in_order(self, lane: Sequence[Brought]) -> None:
        for one in lane:
            await self._storing.store(one)
