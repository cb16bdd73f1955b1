"""The event sources that this process hosts: runs those it was assigned, restarts what ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from datetime import timedelta
from functools import partial

import msgspec

from api.errors import EvokeError, NotFound
from api.frames import SourceReading
from api.meta import Key
from api.model import Option, Source
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.connect import STORE
from eventbus.embedded import DEVICES
from eventbus.errors import BusError, Unreachable
from eventbus.state import StateStore
from proxy import bridges
from proxy.buses import Buses
from proxy.rotation import Secrets
from proxy.settings import ProxySettings
from triggers.sources import EventSource, connect

log = logging.getLogger(__name__)

DEFAULT_BUS = "default"
"""Keeps a source's state where its own bus keeps none."""
KEPT = timedelta(days=400)
"""For how long a source's state is kept after its last change: longer than any schedule rests."""
CANCEL_AGAIN = 5.0
"""Seconds until a source that does not end is cancelled again: up to Python 3.11 asyncio.wait_for loses a cancellation
that comes together with its result (python/cpython#86296)."""
AGAIN = (1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds until a source that could not start, or ended, is started again; the last one repeats."""


def embedded(source: Source, platform: Platform | None) -> Source:
    """*source*, one of MQTT or NATS without address being one of the embedded broker."""
    if bridges.is_own(source):
        return bridges.named(source, platform)
    if source.kind not in {"mqtt", "nats"} or source.options.get("url") or platform is None:
        return source
    url, password = f"nats://{platform.nats}", platform.nats_password
    here: dict[str, Option] = {"url": url, "user": platform.nats_user, "password": password}
    if source.kind == "mqtt":
        here = {STORE + name: value for name, value in {**here, "user": DEVICES}.items()}
        here["url"] = f"mqtt://{platform.mqtt}"
    return msgspec.structs.replace(source, options={**source.options, **here})


class Hosted:
    """One source while it is assigned to this process."""

    def __init__(
        self, source: Source, start: Callable[[], EventSource], bus: Callable[[], EventBus], secrets: Secrets
    ) -> None:
        self.source = source
        self.secrets = secrets
        self._start, self._bus = start, bus
        self.running: EventSource | None = None
        self._trouble = ""
        self._reason = "Unassigned"
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"source {source.key}")

    @property
    def reading(self) -> SourceReading:
        if self.running is not None:
            return self.running.state()
        return SourceReading(source=self.source.key, reason=self._reason, message=self._trouble or "it starts")

    async def stop(self) -> None:
        while not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=CANCEL_AGAIN)
        if not self._task.cancelled() and (error := self._task.exception()) is not None:
            log.error("event source %s failed", self.source.key, exc_info=error)

    async def _run(self) -> None:
        for tried in range(1 << 30):
            try:
                self.secrets.use()
                self.running = self._start()
                await self.running.run(self._publish)
                self._trouble = "it ended by itself"
            except (EvokeError, LookupError, OSError, ValueError) as error:
                self._trouble = str(error)
                self._reason = _reason(error)
                log.warning("event source %s: %s", self.source.key, error)
            finally:
                self.running = None
            await asyncio.sleep(AGAIN[min(tried, len(AGAIN) - 1)])

    async def _publish(self, payload: bytes, *, key: str, dedupe: str) -> None:
        await self._bus().publish(self.source.subject, payload, key=key, dedupe=dedupe)


def _reason(error: Exception) -> str:
    """Reason of Connected for a source that could not start; a client's ValueError means an address that is none."""
    if isinstance(error, LookupError | NotFound):
        return "SecretNotFound"
    if isinstance(error, EvokeError):
        return str(getattr(error, "reason", "Unreachable"))
    return "HostUnknown" if isinstance(error, ValueError) and not isinstance(error, OSError) else "Unreachable"


class Sources:
    def __init__(self, settings: ProxySettings, buses: Buses) -> None:
        self._settings, self._buses = settings, buses
        self._hosted: dict[Key, Hosted] = {}
        self._ending: dict[Key, asyncio.Task[None]] = {}

    def assign(self, declared: Mapping[Key, Source], assigned: Collection[Key]) -> None:
        """Host exactly those of *assigned* that are *declared*, as they are declared."""
        wanted = {key: declared[key] for key in assigned if key in declared}
        for key, hosted in list(self._hosted.items()):
            if wanted.get(key) != hosted.source:
                del self._hosted[key]
                self._ending[key] = asyncio.get_running_loop().create_task(hosted.stop())
        for key, source in wanted.items():
            if key not in self._hosted:
                self._hosted[key] = self._host(source)

    def rotate(self) -> None:
        """Start those anew whose secrets have changed, once they have ended."""
        for key, hosted in list(self._hosted.items()):
            if hosted.secrets.changed:
                log.info("secrets of event source %s have changed: it starts anew", key)
                self._ending[key] = asyncio.get_running_loop().create_task(hosted.stop())
                self._hosted[key] = self._host(hosted.source)

    def find(self, namespace: str, name: str) -> list[Hosted]:
        """Hosted events of the EventSource *name*, or the one called ``<eventsource>.<event>``."""
        return [
            hosted
            for key, hosted in sorted(self._hosted.items())
            if key.namespace == namespace and (key.name == name or key.name.partition(".")[0] == name)
        ]

    def readings(self) -> tuple[SourceReading, ...]:
        return tuple(hosted.reading for hosted in self._hosted.values())

    async def close(self) -> None:
        await asyncio.gather(*(hosted.stop() for hosted in self._hosted.values()), *self._ending.values())
        self._hosted.clear()

    def _host(self, source: Source) -> Hosted:
        def start() -> EventSource:
            filled = embedded(source, self._settings.platform)
            made = connect(filled, lambda option: self._settings.resolve(source.key.namespace, option), cells)
            return bridges.wired(source, made, lambda: self._bus(source.bus))

        async def cells() -> StateStore:  # asked for each time: a bus that is declared anew is another connection
            for key in (source.bus, Key(source.key.namespace, DEFAULT_BUS)):
                if (found := await self._bus(key).state("sources", ttl=KEPT)) is not None:
                    return found
            raise BusError(f"neither bus {source.bus} nor the default one of its namespace keeps state")

        secrets = Secrets(source.options, partial(self._settings.resolve, source.key.namespace))
        return Hosted(source, start, lambda: bridges.into(source, self._bus(source.bus)), secrets)

    def _bus(self, key: Key) -> EventBus:
        found = self._buses.get(key)
        if found is None:
            raise Unreachable(f"event bus {key} is not declared")
        return found
