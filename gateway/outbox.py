"""What the gateway stores on buses: one connection each, opened when it is first needed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping

import msgspec

from api.errors import NotFound
from api.meta import Key
from api.model import Bus, Option, Snapshot, digest
from api.platform import Platform
from eventbus.bus import EventBus
from eventbus.connect import connect, embedded
from eventbus.errors import BusError, BusFull, TooLarge, Unreachable
from eventbus.openings import Openings
from gateway.errors import Rejected, later

PATIENCE = 10.0
"""Seconds that a request waits for the connection to its bus."""

Resolve = Callable[[str, Option], str]
"""(namespace, option) -> its text, secrets included."""

Connect = Callable[[Bus, Callable[[Option], str]], EventBus]


class SecretMissing(BusError):
    """A credential of the bus is not there."""

    reason = "SecretNotFound"


class Buses:
    """Connections by what was declared: a bus that is declared anew is another one."""

    def __init__(self, platform: Platform | None, resolve: Resolve, connect: Connect = connect) -> None:
        self._platform, self._resolve, self._connect = platform, resolve, connect
        self._open: dict[str, EventBus] = {}
        self._opening: dict[str, asyncio.Task[EventBus]] = {}

    async def get(self, declared: Bus) -> EventBus:
        """The bus, connected; raises BusError. Whoever asks meanwhile waits for the same connection."""
        bus = self._resolved(declared)
        name = digest(bus)
        if name in self._open:
            return self._open[name]
        task = self._opening.get(name)
        if task is None:
            task = self._opening[name] = asyncio.get_running_loop().create_task(self._make(name, bus))
            task.add_done_callback(lambda done: (self._opening.pop(name, None), done.cancelled() or done.exception()))
        try:
            async with asyncio.timeout(PATIENCE):
                return await asyncio.shield(task)
        except TimeoutError:
            raise Unreachable(f"event bus {declared.key} is not connected after {PATIENCE:g} s") from None

    def found(self, declared: Bus) -> EventBus | None:
        """The bus if it was connected once."""
        return self._open.get(digest(self._resolved(declared)))

    async def keep(self, declared: Iterable[Bus]) -> None:
        """Close the connections to all but these; raises SecretMissing, and closes nothing then."""
        names = {digest(self._resolved(bus)) for bus in declared}
        for name in self._open.keys() - names:
            with contextlib.suppress(BusError):
                await self._open.pop(name).close()

    async def close(self) -> None:
        for task in [*self._opening.values()]:
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        for bus in self._open.values():
            await bus.close()
        self._open.clear()

    async def _make(self, name: str, bus: Bus) -> EventBus:
        try:
            made = self._connect(bus, str)
        except (ValueError, ImportError) as error:
            raise Unreachable(f"event bus {bus.key} cannot be used: {error}") from error
        try:
            await made.connect()
        except BaseException as error:
            with contextlib.suppress(BusError):
                await made.close()
            if isinstance(error, ValueError):  # a client's, for an address that is none
                raise Unreachable(f"event bus {bus.key} cannot be used: {error}") from error
            raise
        self._open[name] = made
        return made

    def _resolved(self, declared: Bus) -> Bus:
        """With every option as its text, so that a rotated secret makes another bus of it."""
        bus = embedded(declared, self._platform)
        try:
            texts: dict[str, Option] = {
                name: self._resolve(bus.key.namespace, option) for name, option in bus.options.items()
            }
        except (LookupError, NotFound) as error:
            raise SecretMissing(str(error)) from error
        return msgspec.structs.replace(bus, options=texts)


class Outbox:
    """Stores events, each once the declared subscriptions of its subject are there to get it."""

    def __init__(self, buses: Buses, snapshots: Mapping[str, Snapshot]) -> None:
        self._buses, self._snapshots = buses, snapshots
        self._openings = Openings()
        self._known = ""

    async def bus(self, key: Key) -> EventBus:
        """The connected bus; raises BusError."""
        return await self._buses.get(self._declared(key))

    def trouble(self, key: Key) -> BusError | None:
        """Why events cannot be stored on a bus that was asked for before; None: nothing is known against it."""
        bus = self._buses.found(self._declared(key))
        return Unreachable(f"event bus {key} does not answer") if bus is not None and not bus.connected else None

    async def store(self, bus: Key, subject: str, payload: bytes, *, key: str = "", dedupe: str = "") -> None:
        """Return once the bus has acknowledged the event; raises BusError."""
        there = await self.bus(bus)
        self._declare()
        await self._openings.wait(there, bus, subject)
        await there.publish(subject, payload, key=key, dedupe=dedupe)

    async def tidy(self) -> None:
        """Leave buses that are no longer declared, or not so."""
        with contextlib.suppress(SecretMissing):
            await self._buses.keep(
                self._declared(key)
                for snapshot in self._snapshots.values()
                for key in {Key(snapshot.namespace, "default"), *(bus.key for bus in snapshot.buses)}
            )

    def _declared(self, key: Key) -> Bus:
        """As the snapshot of its namespace says; every namespace has one named default on the platform's broker."""
        snapshot = self._snapshots.get(key.namespace)
        found = next((bus for bus in snapshot.buses if bus.key == key), None) if snapshot else None
        if found is None and key.name != "default":
            raise Unreachable(f"event bus {key} is not declared")
        return found or Bus(key=key, kind="nats")

    def _declare(self) -> None:
        """Tell what is subscribed now, when that has changed: nothing may be stored before its receiver listens."""
        known = "".join(snapshot.digest for snapshot in self._snapshots.values())
        if known != self._known:
            self._known = known
            self._openings.declare(one for snapshot in self._snapshots.values() for one in snapshot.subscriptions)


def rejection(error: BusError) -> Rejected:
    """What a client hears when its event was not stored."""
    if isinstance(error, BusFull):
        return later(507, "E144", error.message, seconds=5)
    if isinstance(error, TooLarge):
        return Rejected(413, "E145", error.message)
    return later(503, "E143", error.message)
