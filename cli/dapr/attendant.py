"""One app while it runs: when it listens, what it says of itself, whether it is well."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta

from api.frames import Endpoint
from api.model import AppDeclaration, AppHealth, Component
from api.platform import LOOPBACK
from cli.dapr.settings import AppRun
from controller.local.app_health import Healths, Pulse
from replicas.apps.client import AppClient
from replicas.errors import ReplicaError

log = logging.getLogger("dapr")

DIAL_EVERY = 0.1
"""Seconds, without an end: daprd waits for an app as long as it takes."""
CREDIT = {"http": 32, "grpc": 10}
"""Events and requests at once where nothing was said: ten is what Dapr's Python SDK has threads for."""


def endpoint(app: AppRun) -> Endpoint:
    """Where the work of *app* goes."""
    credit = app.concurrency or CREDIT[app.protocol]
    return Endpoint(replica=app.key.name, address=f"{LOOPBACK}:{app.port}", credit=credit, protocol=app.protocol)


class Attendant:
    """Waits for one app, and follows its health."""

    def __init__(self, app: AppRun, client: AppClient, healths: Healths, changed: Callable[[bool], None]) -> None:
        """*changed* hears that the app may get work, and that it may not."""
        self.app, self._client, self._healths, self._changed = app, client, healths, changed

    async def ready(self) -> None:
        """Return when it listens, and is well where its health counts."""
        while not await _listens(self.app.port):  # noqa: ASYNC110 - nothing tells when another process listens
            await asyncio.sleep(DIAL_EVERY)
        if self.app.health:
            health = self._health
            while not await self._well(health):  # noqa: ASYNC110 - as above
                await asyncio.sleep(DIAL_EVERY)

    async def declaration(self, bindings: list[Component]) -> AppDeclaration:
        """What it subscribes to, and which of *bindings* it takes; raises ReplicaError, BadDeclaration."""
        await self._client.config()
        subscriptions = await self._client.subscriptions()
        taken = [one.name for one in bindings if await self._takes(one)]
        return AppDeclaration(subscriptions=subscriptions, bindings=tuple(taken))

    def watch(self) -> None:
        """Follow its health from now on."""
        self._changed(True)
        if self.app.health:
            health = self._health
            self._healths.watch(self.app.key.name, health, self._probe(health), self._pulse)

    @property
    def _health(self) -> AppHealth:
        default = AppHealth()
        return AppHealth(
            path=self.app.health_path or default.path,
            every=timedelta(seconds=self.app.health_interval) if self.app.health_interval else default.every,
            timeout=timedelta(milliseconds=self.app.health_timeout) if self.app.health_timeout else default.timeout,
            threshold=self.app.health_threshold or default.threshold,
        )

    def _probe(self, health: AppHealth) -> Callable[[], Awaitable[bool]]:
        return lambda: self._well(health)

    async def _well(self, health: AppHealth) -> bool:
        return await self._client.healthy(health.path, health.timeout.total_seconds())

    def _pulse(self, pulse: Pulse) -> None:
        log.warning("app %s is %s", self.app.id, "healthy again" if pulse.well else "unhealthy: it gets nothing new")
        self._changed(pulse.well)

    async def _takes(self, component: Component) -> bool:
        options = {name.lower(): value for name, value in component.metadata.items() if isinstance(value, str)}
        direction = options.get("direction", "")
        if direction:
            return "input" in direction
        try:
            return await self._client.takes_binding(component.name, options.get("route", ""))
        except ReplicaError as error:
            log.warning("app %s: binding %s: %s", self.app.id, component.name, error)
            return False


async def _listens(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(LOOPBACK, port)
    except OSError:
        return False
    writer.close()
    return True
