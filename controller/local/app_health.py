"""Health of apps: each running one that asks for it is probed, and gets nothing new from its last allowed failure to
its next success."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from api.model import AppHealth


class Pulse(msgspec.Struct, frozen=True):
    """What the probes of one replica came to."""

    failures: int = 0
    """In a row."""
    well: bool = True

    def after(self, answered: bool, threshold: int) -> Pulse:
        """One probe more: a success makes it well at once, *threshold* failures in a row make it unwell."""
        if answered:
            return Pulse()
        failures = self.failures + 1
        return Pulse(failures, self.well and failures < max(threshold, 1))


class Healths:
    """Probes replicas until they are forgotten."""

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def watch(
        self,
        replica: str,
        health: AppHealth,
        probe: Callable[[], Awaitable[bool]],
        changed: Callable[[Pulse], None],
    ) -> None:
        """Ask *probe* every so often and tell *changed* when the replica became unwell or well again."""
        self.forget(replica)
        self._tasks[replica] = asyncio.create_task(_watch(health, probe, changed), name=f"health of {replica}")

    def forget(self, replica: str) -> None:
        if task := self._tasks.pop(replica, None):
            task.cancel()

    async def aclose(self) -> None:
        tasks = list(self._tasks.values())
        for name in list(self._tasks):
            self.forget(name)
        await asyncio.gather(*tasks, return_exceptions=True)


async def _watch(health: AppHealth, probe: Callable[[], Awaitable[bool]], changed: Callable[[Pulse], None]) -> None:
    pulse = Pulse()
    while True:
        await asyncio.sleep(health.every.total_seconds())
        before, pulse = pulse, pulse.after(await probe(), health.threshold)
        if pulse.well != before.well:
            changed(pulse)
