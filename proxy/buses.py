"""Connections of this process to the buses of the snapshots: one each while it is declared, trimmed now and then."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import cast

from api.errors import EvokeError
from api.frames import BusReading
from api.meta import Key
from api.model import Bus, Snapshot, Subscription
from eventbus.bus import EventBus
from eventbus.connect import embedded
from eventbus.diagnosis import diagnose
from eventbus.errors import BusError, HostUnknown, Unreachable
from eventbus.openings import Gate, Openings
from proxy.rotation import Secrets
from proxy.settings import ProxySettings

log = logging.getLogger(__name__)

RETRY = (0.1, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Seconds between tries to connect; the last one repeats."""
LOOK_EVERY = 1.0
"""Seconds between two looks at a connection, and at what is in its way when it is down."""
VAGUE = frozenset({"Unreachable", "BusUnreachable"})
"""Reasons that do not name a cause."""
LEAVE_AFTER = 30.0
"""Seconds until a bus that is no longer declared is closed: longer than an owner waits for work in flight."""


Look = Callable[[], Awaitable[BusError | None]]


class Link:
    """One bus as declared, and the connection to it."""

    def __init__(
        self, declared: Bus, make: Callable[[], EventBus], openings: Openings, look: Look, secrets: Secrets
    ) -> None:
        """*look* finds out why the broker cannot be reached."""
        self.declared = declared
        self.secrets = secrets
        self._openings, self._look = openings, look
        self.ready = asyncio.Event()
        """Connected for the first time; after that the backend reconnects by itself."""
        self._make = make
        self._bus: EventBus | None = None
        self._detail = ""
        self._error: EvokeError | None = None
        self._task = asyncio.get_running_loop().create_task(self._connect(), name=f"connect {declared.key}")

    @property
    def bus(self) -> EventBus:
        """The connected bus, whose publishes wait for their subscribers; raises Unreachable while there is none."""
        if self._bus is None or not self.ready.is_set():
            raise Unreachable(
                str(self._error) if self._error else f"event bus {self.declared.key} is not connected yet"
            )
        wildcards = self.declared.options.get("wildcards") == "true"
        return cast("EventBus", Gate(self._bus, self.declared.key, self._openings, wildcards=wildcards))

    @property
    def reading(self) -> BusReading:
        connected = self._bus is not None and self.ready.is_set() and self._bus.connected
        if connected:
            return BusReading(bus=self.declared.key, connected=True, detail=self._detail)
        reason = self._error.reason if isinstance(self._error, BusError) else "SecretNotFound" if self._error else ""
        message = str(self._error) if self._error else "no connection"
        return BusReading(bus=self.declared.key, reason=reason or "Unreachable", message=message)

    async def _connect(self) -> None:
        for tried in range(1 << 30):
            try:
                if self._bus is None:
                    self.secrets.use()
                bus = self._bus or self._make()
                self._detail = await bus.connect()
            except (EvokeError, LookupError, ValueError) as error:
                await self._tell(_told(error))
                await asyncio.sleep(RETRY[min(tried, len(RETRY) - 1)])
            else:
                self._bus, self._error = bus, None
                self.ready.set()
                await self._watch(bus)

    async def _watch(self, bus: EventBus) -> None:
        """Say why whenever the backend is not connected; it reconnects by itself."""
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if bus.connected:
                self._error = None
            else:
                await self._tell(getattr(bus, "trouble", None) or Unreachable("no connection"))

    async def _tell(self, error: EvokeError) -> None:
        """Keep *error*, or its cause where that can be found out and the backend did not name it."""
        before, self._error = self._error, self._error or error
        if isinstance(error, BusError) and error.reason in VAGUE:
            error = await self._look() or error
        if str(error) != str(before):
            log.warning("event bus %s: %s", self.declared.key, error)
        self._error = error

    async def close(self) -> None:
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        if self._bus is not None:
            with contextlib.suppress(BusError):
                await self._bus.close()


def _told(error: Exception) -> EvokeError:
    """What people read of a connect that failed: a client's ValueError means an address that is none."""
    if isinstance(error, EvokeError):
        return error
    if isinstance(error, ValueError):
        return HostUnknown(f"the address of the bus does not hold: {error}", hint="write HOST:PORT")
    return EvokeError(str(error))


class Buses:
    def __init__(self, settings: ProxySettings) -> None:
        self._settings = settings
        self.openings = Openings()
        self._links: dict[Key, Link] = {}
        self._successors: dict[Key, Link] = {}
        """Connections with new secrets, until they stand."""
        self._closing: dict[Link, asyncio.Task[None]] = {}

    def declare(self, buses: Iterable[Bus]) -> None:
        """These are all the buses there are: connect to new ones, leave those that went, replace those that changed."""
        wanted = {bus.key: bus for bus in buses}
        for key, link in list(self._links.items()):
            if wanted.get(key) != link.declared:
                self._retire(self._links.pop(key))
                if successor := self._successors.pop(key, None):
                    self._retire(successor)
        for key, bus in wanted.items():
            if key not in self._links:
                self._links[key] = self._link(bus)

    def rotate(self) -> None:
        """Connect anew, beside what there is, where secrets have changed."""
        for key, link in self._links.items():
            if key not in self._successors and link.secrets.changed:
                log.info("secrets of event bus %s have changed: it connects anew", key)
                self._successors[key] = self._link(link.declared)

    def succeed(self) -> bool:
        """Let connections with new secrets take over once they stand; answers whether one did."""
        standing = [key for key, successor in self._successors.items() if successor.ready.is_set()]
        for key in standing:
            self._retire(self._links[key])
            self._links[key] = self._successors.pop(key)
        return bool(standing)

    def link(self, key: Key) -> Link | None:
        return self._links.get(key)

    def get(self, key: Key) -> EventBus | None:
        """The connected bus; None when no such bus is declared. Raises Unreachable."""
        link = self._links.get(key)
        return link.bus if link is not None else None

    def names(self, namespace: str) -> list[str]:
        return sorted(key.name for key in self._links if key.namespace == namespace)

    def readings(self) -> tuple[BusReading, ...]:
        return tuple(link.reading for link in self._links.values())

    async def trim(self, snapshots: Mapping[str, Snapshot]) -> None:
        """Drop from every bus what each subscription of a subject has passed, or what nobody reads and is too much."""
        for key, link in list(self._links.items()):
            subjects: dict[str, list[Subscription]] = {}
            for snapshot in snapshots.values():
                for subscription in snapshot.subscriptions:
                    if subscription.bus == key:
                        subjects.setdefault(subscription.subject, []).append(subscription)
            if link.ready.is_set():
                try:
                    await link.bus.trim(subjects)
                except BusError as error:
                    log.info("trimming %s: %s", key, error)

    async def close(self) -> None:
        for task in self._closing.values():
            task.cancel()
        links = (*self._links.values(), *self._successors.values(), *self._closing)
        await asyncio.gather(*(link.close() for link in links))
        self._links.clear()
        self._successors.clear()

    def _link(self, bus: Bus) -> Link:
        secrets = Secrets(bus.options, partial(self._settings.resolve, bus.key.namespace))
        return Link(bus, partial(self._make, bus), self.openings, partial(self._look, bus), secrets)

    def _make(self, bus: Bus) -> EventBus:
        filled = embedded(bus, self._settings.platform)
        return self._settings.connect(filled, lambda option: self._settings.resolve(bus.key.namespace, option))

    async def _look(self, bus: Bus) -> BusError | None:
        filled, resolve = embedded(bus, self._settings.platform), self._settings.resolve
        try:
            options = {name: resolve(bus.key.namespace, option) for name, option in filled.options.items()}
        except (EvokeError, LookupError):  # a secret has gone: the next try to connect says which
            return None
        return await diagnose(filled.kind, options)

    def _retire(self, link: Link) -> None:
        task = self._closing[link] = asyncio.get_running_loop().create_task(self._leave(link))
        task.add_done_callback(lambda _done: self._closing.pop(link))

    @staticmethod
    async def _leave(link: Link) -> None:
        """Close a link once whoever used it had time to give up what it owned there."""
        await asyncio.sleep(LEAVE_AFTER)
        await link.close()
