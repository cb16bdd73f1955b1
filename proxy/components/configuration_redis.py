"""``configuration.redis``: plain keys of a Redis server, ``value||version`` each, watched by keyspace notifications.

A notification only says that it is time to look: what is told is the difference to what was seen before, so nothing is
missed while the connection was gone, and a server that sends none is looked at every few seconds. daprd hears of
changes by notifications alone.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from api.model import Component
from proxy.components.declaration import Declared
from proxy.components.protocols import ComponentError, TooMuch, Value
from proxy.components.redis_instance import RedisInstance
from proxy.components.redis_metadata import RedisMetadata
from proxy.components.surroundings import Surroundings

if TYPE_CHECKING:
    from proxy.components.redis_connection import RedisConnection

BETWEEN = "||"
"""Between a value and its version."""
LOOK_EVERY = 5.0
"""Seconds between two looks where no notification comes."""
AGAIN = 1.0
"""Seconds until a server that is gone is asked again."""
MOST = 10_000
"""Keys that are handed out at once."""


class Metadata(RedisMetadata, frozen=True, kw_only=True):
    """Reads and watches configuration items."""


class RedisConfiguration(RedisInstance):
    def __init__(self, server: RedisConnection, database: int) -> None:
        super().__init__(server)
        self._database = database

    async def open(self) -> str:
        detail = await super().open()
        with contextlib.suppress(ComponentError):  # a server that forbids it is looked at now and then
            await self._notify()
        return detail

    async def get(self, keys: Sequence[str], metadata: Mapping[str, str]) -> dict[str, Value]:  # noqa: ARG002 - none is read
        wanted = list(keys) or await self._names()
        if not wanted:
            return {}
        answers = await self._server.calls([("GET", key) for key in wanted])
        found = {}
        for key, answer in zip(wanted, answers, strict=True):
            if isinstance(answer, bytes) and answer:  # what is no text of its own is another program's
                value, _, version = answer.decode("utf-8", "replace").partition(BETWEEN)
                found[key] = Value(value=value, version=version)
        return found

    async def watch(self, keys: Sequence[str], metadata: Mapping[str, str]) -> AsyncIterator[dict[str, Value]]:
        seen: dict[str, Value] | None = None
        while True:
            try:
                async with self._server.pubsub() as channel:
                    await channel.psubscribe(f"__keyspace@{self._database}__:*")
                    while True:
                        now = await self.get(keys, metadata)
                        changed = {} if seen is None else _changes(seen, now)
                        if changed or seen is None:
                            yield changed
                        seen = now
                        await self._wait(channel, frozenset(keys))
            except ComponentError:
                await asyncio.sleep(AGAIN)

    async def _wait(self, channel: Any, keys: frozenset[str]) -> None:
        """Return once one of *keys* may have changed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY):
                while True:
                    message = await channel.get_message(ignore_subscribe_messages=True, timeout=LOOK_EVERY)
                    if message is None:
                        continue
                    key = message["channel"].decode("utf-8", "replace").partition("__:")[2]
                    if not keys or key in keys:
                        break
            while await channel.get_message(ignore_subscribe_messages=True, timeout=0) is not None:
                """Many changes are one look."""

    async def _names(self) -> list[str]:
        found: list[str] = []
        cursor = b"0"
        while True:
            cursor, names = await self._server.call("SCAN", cursor, "COUNT", 1000, "TYPE", "string")
            found += [name.decode("utf-8", "replace") for name in names]
            if len(found) > MOST:
                raise TooMuch(f"there are more than {MOST} keys; name those that you want")
            if int(cursor) == 0:
                return sorted(set(found))

    async def _notify(self) -> None:
        """Have the server tell of changes (``notify-keyspace-events KA``, as daprd does)."""
        answer = await self._server.call("CONFIG", "GET", "notify-keyspace-events")
        pairs = answer if isinstance(answer, dict) else dict(zip(answer[::2], answer[1::2], strict=False))
        told = (next(iter(pairs.values()), b"") or b"").decode()
        if not {"K", "A"} <= set(told):
            merged = "".join(sorted({*told, "K", "A"}))
            await self._server.call("CONFIG", "SET", "notify-keyspace-events", merged)


def _changes(before: Mapping[str, Value], now: Mapping[str, Value]) -> dict[str, Value]:
    """Items that are new or other than before; one that went has no value."""
    gone = {key: Value(value="") for key in before if key not in now}
    return {key: value for key, value in now.items() if before.get(key) != value} | gone


def open_store(component: Component, metadata: Metadata, _around: Surroundings) -> RedisConfiguration:
    from proxy.components.redis_connection import RedisConnection

    return RedisConfiguration(RedisConnection(metadata, f"evoke-{component.name}"), metadata.redis_db)


DECLARED = Declared(type="configuration.redis", metadata=Metadata, open=open_store)
