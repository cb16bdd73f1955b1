"""A state store as one app sees it: its keys stand under the app's prefix, and what it writes is checked first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from api.model import App, Component
from proxy.components.protocols import (
    Change,
    Item,
    KeyIllegal,
    MetadataIllegal,
    Remove,
    StateStore,
    Unsupported,
)

BETWEEN = "||"
"""Between the prefix and the key; no key has it."""
LONGEST_TTL = 10**10
"""Seconds; more than any store counts."""


def prefix(strategy: str, component: Component, app: App) -> str:
    """What stands before the keys of *app*, with its separator; *strategy* is metadata ``keyPrefix``."""
    known = {
        "appid": app.id,
        "name": component.name,
        "namespace": f"{component.key.namespace}.{app.id}",
        "none": "",
    }
    named = known.get(strategy.lower(), strategy)
    return f"{named}{BETWEEN}" if named else ""


def ttl(metadata: Mapping[str, str]) -> int:
    """``ttlInSeconds`` of a request: 0 where it says nothing, -1 where the value shall stay; raises MetadataIllegal."""
    text = next((value for name, value in metadata.items() if name.lower() == "ttlinseconds"), "").strip()
    if not text:
        return 0
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 12 and -1 <= int(text) <= LONGEST_TTL):
        raise MetadataIllegal(
            f"ttlInSeconds is `{text[:40]}`: write whole seconds, or -1 for a value that stays for ever"
        )
    return int(text) or -1


class AppState:
    """All calls raise ComponentError."""

    def __init__(self, store: StateStore, prefix: str, *, outbox: bool = False) -> None:
        """*outbox*: a transaction is to publish, which none does here."""
        self._store, self._prefix, self._outbox = store, prefix, outbox

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        """One per key, in order; None: it is not there."""
        return await self._store.get([self._named(key) for key in keys])

    async def change(self, change: Change) -> None:
        await self._store.change(self._checked(change))

    async def transact(self, changes: Sequence[Change]) -> None:
        """All or nothing, in order."""
        if self._outbox:
            raise Unsupported("the component asks for an outbox, and there is none: publish after the transaction")
        if named := [self._checked(change) for change in changes]:
            await self._store.transact(named)

    def _checked(self, change: Change) -> Change:
        key = self._named(change.key)
        last = change.concurrency == "last-write"
        etag = None if last else change.etag or None
        if isinstance(change, Remove):
            return msgspec.structs.replace(change, key=key, etag=etag)
        return msgspec.structs.replace(change, key=key, etag=etag, ttl=change.ttl or ttl(change.metadata))

    def _named(self, key: str) -> str:
        """*key* as the store knows it; raises KeyIllegal."""
        if not key:
            raise KeyIllegal("the key is empty")
        if BETWEEN in key:
            raise KeyIllegal(f"input key/keyPrefix '{key[:80]}' can't contain '{BETWEEN}'")
        named = self._prefix + key
        try:
            size = len(named.encode())
        except UnicodeEncodeError:
            raise KeyIllegal("the key is no text") from None
        if "\0" in key:
            raise KeyIllegal("the key has a zero byte in it")
        if size > self._store.longest:
            raise KeyIllegal(f"the key has {size} bytes with its prefix, more than {self._store.longest}")
        return named
