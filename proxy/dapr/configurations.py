"""Configuration items: read, and watched until the watch is given up."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator, Collection, Mapping, Sequence

from api.meta import Key
from proxy.components.components import Components
from proxy.components.protocols import ComponentError, ComponentMissing, ConfigurationStore, ScopeDenied, Value
from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError, busy

PREFIX = "DAPR_CONFIGURATION_"
WATCHES = 100
"""Watches that one app may have open at this proxy."""
STARTS_WITHIN = 2.0
"""Seconds for which a caller waits until its watch has begun; the watch of a store that is away begins later."""


class Watch:
    """Changes of configuration items as they come; ends with close(), or raises DaprError when the store gives up."""

    def __init__(self, caller: Caller, store: str, changes: AsyncIterator[dict[str, Value]]) -> None:
        self.id = str(uuid.uuid4())
        self.caller, self.store = caller, store
        self._queue: asyncio.Queue[dict[str, Value] | DaprError | None] = asyncio.Queue(1)
        self._changes = changes
        self._begun = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._pump(), name=f"watch {store}")

    def __aiter__(self) -> AsyncIterator[dict[str, Value]]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[dict[str, Value]]:
        while (one := await self._queue.get()) is not None:
            if isinstance(one, DaprError):
                raise one
            yield one

    async def begun(self) -> None:
        """Return once every change from now on is told: an app may change a key as soon as it has its answer."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STARTS_WITHIN):
                await self._begun.wait()

    async def close(self) -> None:
        """End the iteration; may be called again."""
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)

    async def _pump(self) -> None:
        end = getattr(self._changes, "aclose", None)
        try:
            async for items in self._changes:
                self._begun.set()
                if items:
                    await self._queue.put(items)
        except ComponentError as error:
            message = f"failed to subscribe from Configuration store {self.store}: {error}"
            await self._queue.put(DaprError(500, "INTERNAL", "ERR_CONFIGURATION_SUBSCRIBE", message))
        finally:
            self._begun.set()
            if end is not None:
                await end()


class Configurations:
    """The configuration API."""

    def __init__(self, components: Components) -> None:
        self._components = components
        self._watches: dict[str, Watch] = {}
        self._ending: set[asyncio.Task[None]] = set()

    async def get(
        self, caller: Caller, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> dict[str, Value]:
        """Those of *keys* that are there; no keys: all items."""
        opened = self._store(caller, store)
        try:
            return await opened.get(keys, metadata)
        except ComponentError as error:
            message = f"failed to get {list(keys)} from Configuration store {store}: {error}"
            raise DaprError(500, "INTERNAL", "ERR_CONFIGURATION_GET", message) from error

    def watch(self, caller: Caller, store: str, keys: Sequence[str], metadata: Mapping[str, str]) -> Watch:
        """Start to watch; whoever does calls end() at last."""
        opened = self._store(caller, store)
        if sum(one.caller.app.key == caller.app.key for one in self._watches.values()) >= WATCHES:
            raise busy(f"app id {caller.app.id} watches {WATCHES} configurations already")
        watch = Watch(caller, store, opened.watch(keys, metadata))
        self._watches[watch.id] = watch
        return watch

    async def end(self, caller: Caller, store: str, id: str) -> None:  # noqa: A002 - Dapr's word
        """End a watch of the caller's own; raises DaprError where there is none."""
        self._store(caller, store)
        watch = self._watches.get(id)
        if watch is None or watch.caller.app.key != caller.app.key or watch.store != store:
            message = f"failed to unsubscribe to configuration request {id}: subscription with id {id} does not exist"
            raise DaprError(500, "INTERNAL", "ERR_CONFIGURATION_UNSUBSCRIBE", message)
        del self._watches[id]
        await watch.close()

    def keep(self, functions: Collection[Key]) -> None:
        """End the watches of all others: they are no apps any more."""
        for watch in list(self._watches.values()):
            if watch.caller.app.key not in functions:
                del self._watches[watch.id]
                task = asyncio.get_running_loop().create_task(watch.close())
                self._ending.add(task)
                task.add_done_callback(self._ending.discard)

    async def close(self, function: Key | None = None) -> None:
        """End every watch, or those of one function."""
        for watch in list(self._watches.values()):
            if function in {None, watch.caller.app.key}:
                self._watches.pop(watch.id, None)
                await watch.close()
        if function is None:
            await asyncio.gather(*self._ending)

    def _store(self, caller: Caller, store: str) -> ConfigurationStore:
        try:
            return self._components.configuration(caller.app, store)
        except (ComponentMissing, ScopeDenied) as error:
            message = f"configuration store {store} not found: {error}"
            reason = f"{PREFIX}STORE_NOT_FOUND"
            raise DaprError(400, "INVALID_ARGUMENT", "ERR_CONFIGURATION_STORE_NOT_FOUND", message, reason) from error
        except ComponentError as error:
            message = f"configuration store {store} is not configured: {error}"
            code = "ERR_CONFIGURATION_STORE_NOT_CONFIGURED"
            raise DaprError(500, "FAILED_PRECONDITION", code, message, f"{PREFIX}STORE_NOT_CONFIGURED") from error
