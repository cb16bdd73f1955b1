"""The proxy on the control stream: what it is told, and what it tells."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

import msgspec

from api.frames import (
    AppListener,
    Assign,
    Close,
    Config,
    Endpoints,
    Frame,
    Listen,
    Readings,
    Reopen,
    TriggerReading,
)
from api.meta import Key
from api.model import Join, Snapshot
from eventbus.bus import EventBus
from eventbus.errors import Unreachable
from proxy.buses import Buses
from proxy.closing import Closings
from proxy.components.components import Components
from proxy.components.stored_secrets import StoredSecrets
from proxy.components.surroundings import Surroundings
from proxy.dapr.caller import Caller
from proxy.dapr.runtime import Runtime
from proxy.rotation import LOOK_EVERY
from proxy.settings import ProxySettings
from proxy.sources import Sources
from proxy.subscriptions import Subscriptions
from proxy.wiring import Wiring

log = logging.getLogger(__name__)

COALESCE = 0.05
"""Seconds in which changes are gathered into one Readings; a Want never waits."""
REMEMBERED, LISTENERS = "assigned", "listeners"
"""Files in the cache directory: what was said last, for a start while the controller is away."""
F = TypeVar("F", bound=Frame)


class ProxyAgent:
    """Handles frames of the controller (a ControlHandler) and keeps it told."""

    def __init__(self, settings: ProxySettings, boot_id: str, wiring: Wiring, connected: Callable[[], bool]) -> None:
        self._settings, self._boot_id, self._wiring = settings, boot_id, wiring
        self._connected = connected
        self.components = Components(_surroundings(settings, wiring))
        secrets = StoredSecrets(settings.resolve, self.components)
        reaching = msgspec.structs.replace(settings, resolve=secrets.resolve)
        self.buses = Buses(reaching)
        self.sources = Sources(reaching, self.buses)
        self.subscriptions = Subscriptions(wiring, self.buses, settings.agent, settings.cache)
        self.runtime = Runtime(
            self.buses,
            self.components,
            settings.platform
            if settings.shared
            else None,  # as with a sidecar, a token that nobody asked for says nothing
            wiring,
            on_shutdown=settings.on_shutdown,
        )
        self.snapshots: dict[str, Snapshot] = {}
        self.on_apps: list[Callable[[Sequence[AppListener]], None]] = []
        """Told at which addresses apps are served by this proxy."""
        self.on_declared: list[Callable[[], None]] = []
        """Told that the runtime has new declarations."""
        self._closings = Closings(wiring.table, self.subscriptions, wiring.send, self.runtime.calls.waiting_for)
        self._assigned: Assign | None = None
        self._soon: asyncio.TimerHandle | None = None
        self._seq = 0

    async def run(self) -> None:
        """Send readings, trim the buses and look at their secrets for ever."""
        every = self._settings.interval.total_seconds()
        trim = self._settings.trim_every.total_seconds()
        loop = asyncio.get_running_loop()
        next_trim, next_look = loop.time() + trim, loop.time() + LOOK_EVERY
        while True:
            await asyncio.sleep(every)
            self.report()
            if loop.time() >= next_look:
                self.buses.rotate()
                self.sources.rotate()
                next_look = loop.time() + LOOK_EVERY
            if self.buses.succeed():
                self._apply()
            if loop.time() >= next_trim:
                await self.buses.trim(self.snapshots)
                next_trim = loop.time() + trim

    def report(self) -> None:
        """Send every Want that holds, then complete Readings."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        for want in (*self.subscriptions.wants(), *self.runtime.calls.wants()):
            self._wiring.send(want)
        self._seq += 1
        self._wiring.send(
            Readings(
                boot_id=self._boot_id,
                seq=self._seq,
                triggers=self.readings(),
                routes=self.runtime.calls.readings(),
                sources=self.sources.readings(),
                buses=self.buses.readings(),
                components=self.components.readings(),
                streams=self._wiring.streams.readings(
                    one for snapshot in self.snapshots.values() for one in snapshot.subscriptions
                ),
                used=dict(self._wiring.table.used()),
                stuck=tuple(self._wiring.stuck),
            )
        )

    def readings(self) -> tuple[TriggerReading, ...]:
        """What the owners of this process see now."""
        return tuple(self.subscriptions.readings())

    def bus(self, key: Key) -> EventBus:
        """The connected bus of that key; raises Unreachable."""
        found = self.buses.get(key)
        if found is None:
            raise Unreachable(f"event bus {key} is not declared")
        return found

    def join(self, key: Key) -> Join | None:
        """The join of that key, as its namespace declares it now."""
        snapshot = self.snapshots.get(key.namespace)
        return next((one for one in snapshot.joins if one.key == key), None) if snapshot else None

    async def bind(self, function: Key, name: str, data: bytes) -> None:
        """Send what an app answered to an event to one of its output bindings; raises DaprError."""
        await self.runtime.invoke_binding(Caller(self.runtime.directory.app(function)), name, "create", data, {})

    def touch(self) -> None:
        """Something changed that should be known before the next interval."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(COALESCE, self.report)

    async def release(self) -> None:
        """Give up everything: work in flight is awaited, progress written. The buses stay for those still served."""
        if self._soon is not None:
            self._soon.cancel()
        await self.sources.close()
        await self.subscriptions.close()

    async def close(self) -> None:
        """Let go of what the Dapr API was served with."""
        await self.runtime.close()
        await self.components.close()
        await self.buses.close()

    # ControlHandler

    def on_config(self, config: Config) -> None:
        self.snapshots[config.snapshot.namespace] = config.snapshot
        if self._assigned is None and not self._connected():
            self._assigned = self._remembered(REMEMBERED, Assign)
            if listen := self._remembered(LISTENERS, Listen):
                self._listen(listen)
        self._apply()

    def on_assign(self, assign: Assign) -> None:
        self._assigned = assign
        self._remember(REMEMBERED, assign)
        self._apply()

    def on_listen(self, listen: Listen) -> None:
        self._remember(LISTENERS, listen)
        self._listen(listen)

    def on_endpoints(self, endpoints: Endpoints) -> None:
        self._wiring.table.update(endpoints)

    def on_close(self, close: Close) -> None:
        self._closings.close(close)

    def on_reopen(self, reopen: Reopen) -> None:
        self._closings.reopen(reopen.revision)

    def on_connected(self) -> None:
        self.report()

    def on_disconnected(self) -> None:
        self._closings.disconnected()

    def _apply(self) -> None:
        """Make buses, sources and subscriptions what the snapshots and the assignment say."""
        snapshots = self.snapshots.values()
        self.buses.declare(bus for snapshot in snapshots for bus in snapshot.buses)
        assigned = self._assigned or Assign(epoch=0)
        sources = {source.key: source for snapshot in snapshots for source in snapshot.sources}
        subscriptions = {one.key: one for snapshot in snapshots for one in snapshot.subscriptions}
        self.buses.openings.declare(subscriptions.values())
        self.components.declare(one for snapshot in snapshots for one in snapshot.components)
        self.runtime.declare(snapshots)
        for tell in self.on_declared:
            tell()
        self.sources.assign(sources, assigned.sources)
        self.subscriptions.assign(subscriptions, assigned.subscriptions, self.snapshots)
        self.touch()

    def _listen(self, listen: Listen) -> None:
        for tell in self.on_apps:
            tell(listen.apps)

    def _remember(self, name: str, frame: Frame) -> None:
        path = self._settings.cache / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(frame))
        new.replace(path)

    def _remembered(self, name: str, type_: type[F]) -> F | None:
        try:
            return msgspec.json.decode((self._settings.cache / name).read_bytes(), type=type_)
        except (OSError, msgspec.DecodeError):
            return None


def _surroundings(settings: ProxySettings, wiring: Wiring) -> Surroundings:
    return Surroundings(
        resolve=settings.resolve,
        keeper=settings.keeper,
        folder=settings.folder,
        shared=settings.shared,
        platform=settings.platform,
        http=wiring.outside,
    )
