"""``state.in-memory``: values in memory, for tests and for what may be lost.

They stand in the memory of the platform's own broker, so that all its proxies see the same; where there is no broker,
in this process.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from api.model import Component
from proxy.components.declaration import Declared
from proxy.components.families import StateMetadata
from proxy.components.jetstream_names import own_bucket
from proxy.components.protocols import Change, EtagInvalid, EtagMismatch, Item, Remove, StateStore, Write
from proxy.components.state_jetstream import embedded
from proxy.components.surroundings import Surroundings

SWEEP = 1000
"""Writes between two looks for values that are past their time."""


class Metadata(StateMetadata, frozen=True, kw_only=True):
    """Keeps values in the memory of the platform's broker; they go when it is started anew."""


class _Kept(NamedTuple):
    value: bytes
    version: int
    expires: float


class MemoryState:
    longest = 2048

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {}
        self._versions = itertools.count(1)
        self._written = 0

    async def open(self) -> str:
        return "in this process"

    async def close(self) -> None:
        self._kept.clear()

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        return [_item(self._here(key)) for key in keys]

    async def change(self, change: Change) -> None:
        self._check(change)
        self._apply(change)

    async def transact(self, changes: Sequence[Change]) -> None:
        """Changes of one key see those before them, as in a database."""
        before = dict(self._kept)
        try:
            for change in changes:
                self._check(change)
                self._apply(change)
        except (EtagMismatch, EtagInvalid):
            self._kept = before
            raise

    def _here(self, key: str) -> _Kept | None:
        found = self._kept.get(key)
        return found if found is not None and (not found.expires or found.expires > time.time()) else None

    def _check(self, change: Change) -> None:
        found = self._here(change.key)
        if change.etag:
            if not change.etag.isascii() or not change.etag.isdigit():
                raise EtagInvalid(f"etag `{change.etag[:40]}` is none of this store: they are numbers")
            if found is None or found.version != int(change.etag):
                raise EtagMismatch(change.key)
        elif isinstance(change, Write) and change.concurrency == "first-write" and found is not None:
            raise EtagMismatch(change.key)

    def _apply(self, change: Change) -> None:
        if isinstance(change, Remove):
            self._kept.pop(change.key, None)
            return
        expires = time.time() + change.ttl if change.ttl > 0 else 0.0
        self._kept[change.key] = _Kept(change.value, next(self._versions), expires)
        self._written += 1
        if self._written % SWEEP == 0:
            self._kept = {key: kept for key in self._kept if (kept := self._here(key)) is not None}


def _item(kept: _Kept | None) -> Item | None:
    if kept is None:
        return None
    metadata = {}
    if kept.expires:
        metadata["ttlExpireTime"] = datetime.fromtimestamp(kept.expires, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Item(value=kept.value, etag=str(kept.version), metadata=metadata)


def open_store(component: Component, _metadata: Metadata, around: Surroundings) -> StateStore:
    if around.platform is None:
        return MemoryState()
    from proxy.components.jetstream_bucket import JetStreamState

    options = embedded(around)
    return JetStreamState(lambda: options, own_bucket(component) + "_mem", memory=True, name=f"evoke-{component.name}")


DECLARED = Declared(
    type="state.in-memory", metadata=Metadata, open=open_store, features=("ETAG", "TRANSACTIONAL", "TTL")
)
