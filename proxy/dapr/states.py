"""State: keys and values of apps, with Dapr's codes for what goes wrong."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from proxy.components.components import Components
from proxy.components.protocols import (
    Change,
    ComponentError,
    ComponentMissing,
    EtagInvalid,
    EtagMismatch,
    Item,
    KeyIllegal,
    Remove,
    RequestIllegal,
    ScopeDenied,
    StateStore,
    TooMuch,
    Unsupported,
    Write,
)
from proxy.dapr.caller import Caller
from proxy.dapr.errors import DaprError
from proxy.dapr.guards import Guards

PREFIX = "DAPR_STATE_"


class Found(msgspec.Struct, frozen=True):
    """One key of a bulk read; *item* None: it is not there, or *error* says why it cannot be read."""

    key: str
    item: Item | None = None
    error: str = ""


class States:
    """The state API; values are bytes, keys those of the app."""

    def __init__(self, components: Components, guards: Guards) -> None:
        self._components, self._guards = components, guards

    async def get(self, caller: Caller, store: str, key: str, metadata: Mapping[str, str]) -> Item | None:  # noqa: ARG002 - part of the call; no store reads any yet
        """None: the key is not there."""
        opened = self._store(caller, store)

        async def call() -> Item | None:
            with _translated(store, "ERR_STATE_GET", f"fail to get {key} from state store {store}"):
                (item,) = await opened.get([key])
            return item

        return await self._guards.run(caller.app, f"component:{store}", call)

    async def get_bulk(
        self,
        caller: Caller,
        store: str,
        keys: Sequence[str],
        metadata: Mapping[str, str],  # noqa: ARG002 - as in get()
        parallelism: int = 0,  # noqa: ARG002 - a hint; every store reads all keys at once
    ) -> list[Found]:
        """One per key, in order."""
        opened = self._store(caller, store)
        if not keys:
            return []

        async def call() -> list[Item | None]:
            with _translated(store, "ERR_STATE_BULK_GET", f"fail to get keys from state store {store}"):
                return await opened.get(list(keys))

        items = await self._guards.run(caller.app, f"component:{store}", call)
        return [Found(key, item) for key, item in zip(keys, items, strict=True)]

    async def save(self, caller: Caller, store: str, items: Sequence[Write]) -> None:
        """Set each key, each by itself as in Dapr: where one fails the others are set."""
        opened = self._store(caller, store)
        if not items:
            return

        async def call() -> None:
            with _translated(store, "ERR_STATE_SAVE", f"failed saving state in state store {store}"):
                await _each(opened, items)

        await self._guards.run(caller.app, f"component:{store}", call)

    async def delete(self, caller: Caller, store: str, remove: Remove) -> None:
        """A key that is not there is no error, except with an ETag."""
        opened = self._store(caller, store)

        async def call() -> None:
            with _translated(store, "ERR_STATE_DELETE", f"failed deleting state with key {remove.key}"):
                await opened.change(remove)

        await self._guards.run(caller.app, f"component:{store}", call)

    async def delete_bulk(self, caller: Caller, store: str, removes: Sequence[Remove]) -> None:
        """Delete each key, each by itself."""
        opened = self._store(caller, store)
        if not removes:
            return

        async def call() -> None:
            with _translated(store, "ERR_STATE_DELETE_BULK", f"failed deleting state in state store {store}"):
                await _each(opened, removes)

        await self._guards.run(caller.app, f"component:{store}", call)

    async def transact(
        self,
        caller: Caller,
        store: str,
        operations: Sequence[Change],
        metadata: Mapping[str, str],  # noqa: ARG002 - as in get()
    ) -> None:
        """All of the changes or none."""
        opened = self._store(caller, store)
        if not operations:
            return

        async def call() -> None:
            try:
                with _translated(store, "ERR_STATE_TRANSACTION", "error while executing state transaction"):
                    await opened.transact(operations)
            except Unsupported as error:
                message = f"state store {store} doesn't support transactions: {error}"
                code, reason = "ERR_STATE_STORE_NOT_SUPPORTED", "TRANSACTIONS_NOT_SUPPORTED"
                raise _refused(500, "UNIMPLEMENTED", code, message, store, reason) from error

        await self._guards.run(caller.app, f"component:{store}", call)

    def _store(self, caller: Caller, store: str) -> StateStore:
        try:
            return self._components.state(caller.app, store)
        except (ComponentMissing, ScopeDenied) as error:
            message = f"state store {store} is not found: {error}"
            reason = f"{PREFIX}NOT_FOUND"
            raise DaprError(400, "INVALID_ARGUMENT", "ERR_STATE_STORE_NOT_FOUND", message, reason) from error
        except ComponentError as error:
            message = f"state store {store} is not configured: {error}"
            reason = f"{PREFIX}NOT_CONFIGURED"
            raise DaprError(500, "FAILED_PRECONDITION", "ERR_STATE_STORE_NOT_CONFIGURED", message, reason) from error


async def _each(opened: StateStore, changes: Sequence[Change]) -> None:
    """Each change by itself: one that fails stops no other. Raises the worst error: that somebody else changed a key
    comes before what else went wrong."""
    if len({change.key for change in changes}) < len(changes):
        for change in changes:
            await opened.change(change)  # the last one of a key wins
        return
    results = await asyncio.gather(*map(opened.change, changes), return_exceptions=True)
    failures = [result for result in results if isinstance(result, BaseException)]
    if failures:
        raise next((error for error in failures if isinstance(error, EtagMismatch)), failures[0])


@contextmanager
def _translated(store: str, code: str, what: str) -> Iterator[None]:
    """Raise DaprError for what a store raises; Unsupported goes through."""
    try:
        yield
    except Unsupported:
        raise
    except KeyIllegal as error:
        raise _refused(400, "INVALID_ARGUMENT", "ERR_MALFORMED_REQUEST", str(error), store, "ILLEGAL_KEY") from error
    except EtagMismatch as error:
        raise _refused(409, "ABORTED", code, f"{what}: {error}", store, "ETAG_MISMATCH") from error
    except EtagInvalid as error:
        raise _refused(400, "INVALID_ARGUMENT", code, f"{what}: {error}", store, "ETAG_INVALID") from error
    except RequestIllegal as error:
        raise _refused(400, "INVALID_ARGUMENT", code, f"{what}: {error}", store) from error
    except TooMuch as error:
        raise _refused(413, "RESOURCE_EXHAUSTED", code, f"{what}: {error}", store) from error
    except ComponentError as error:
        raise _refused(500, "INTERNAL", code, f"{what}: {error}", store) from error


def _refused(status: int, grpc: str, code: str, message: str, store: str, reason: str = "") -> DaprError:
    return DaprError(status, grpc, code, message, PREFIX + reason if reason else "", store if reason else "", "state")
