"""``state.redis``: a hash per key with fields ``data`` and ``version``, as daprd has them, so both read each other.

Set, delete and transaction are one script: its conditions are looked at first, all of them, and then everything is
written, with its expiry. daprd checks and writes operation by operation and lets the rest of a transaction through
after one that failed; and it sets the expiry in a second call.

The versions of a key that is made begin at the server's microseconds: daprd's begin at 1 each time, so that an ETag of
before a deletion fits what was made after it. And two rules are those of Dapr's documentation where daprd's script
differs. A first write without an ETag succeeds only where there is no key; daprd lets the first of them overwrite. A
last write always succeeds; daprd refuses it on a key that a first write made.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

import msgspec

from api.model import Component
from proxy.components.declaration import Declared
from proxy.components.families import StateMetadata
from proxy.components.protocols import (
    Change,
    EtagInvalid,
    EtagMismatch,
    Item,
    Remove,
    Unsupported,
)
from proxy.components.redis_instance import RedisInstance
from proxy.components.redis_metadata import RedisMetadata
from proxy.components.surroundings import Surroundings

if TYPE_CHECKING:
    from proxy.components.redis_connection import RedisConnection

STRONG_WAIT: Final = 1000
"""Milliseconds for replicas to have a strongly consistent write, as in daprd."""

# KEYS: the key of each change. ARGV, five for each: verb, etag (empty: any), first write, seconds to live, value.
# Answers 0, or the place of the first change whose condition does not hold.
_CHANGE: Final = """
local version = {}
for i, key in ipairs(KEYS) do
  if version[key] == nil then
    local kind = redis.call('TYPE', key)['ok']
    if kind == 'hash' then version[key] = redis.call('HGET', key, 'version') or ''
    elseif kind == 'none' then version[key] = false
    elseif kind == 'string' then version[key] = ''
    else return redis.error_reply('WRONGTYPE ' .. key .. ' is a ' .. kind .. ', not state') end
  end
  local at = (i - 1) * 5
  local verb, etag, first = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local here = version[key]
  if etag ~= '' and here ~= etag then return i end
  if etag == '' and first == '1' and here then return i end
  if verb == 'del' then version[key] = false else version[key] = 'new' end
end
local now = redis.call('TIME')
local fresh = string.format('%.0f', now[1] * 1000000 + now[2])
for i, key in ipairs(KEYS) do
  local at = (i - 1) * 5
  if ARGV[at + 1] == 'del' then redis.call('DEL', key)
  else
    if redis.call('TYPE', key)['ok'] == 'string' then redis.call('DEL', key) end
    redis.call('HSET', key, 'data', ARGV[at + 5])
    if ARGV[at + 3] == '1' then redis.call('HSET', key, 'first-write', 0) end
    if redis.call('HEXISTS', key, 'version') == 0 then redis.call('HSET', key, 'version', fresh) end
    redis.call('HINCRBY', key, 'version', 1)
    local ttl = tonumber(ARGV[at + 4])
    if ttl > 0 then redis.call('EXPIRE', key, ttl) elseif ttl < 0 then redis.call('PERSIST', key) end
  end
end
return 0
"""


class Metadata(RedisMetadata, frozen=True, kw_only=True):
    """Keeps state in Redis; a value saved again without ttlInSeconds keeps the time it had."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({
        **RedisMetadata.NOTED,
        **StateMetadata.NOTED,
        "queryIndexes": "the query API is not served",
    })  # fmt: skip
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({**RedisMetadata.REFUSED, **StateMetadata.REFUSED})

    key_prefix: Annotated[str, msgspec.Meta(min_length=1)] = "appid"
    """Whose keys they are: ``appid``, ``name`` (of the component), ``namespace`` (with the app id), ``none``, or a
    prefix of its own for all who use it."""
    ttl_in_seconds: Annotated[int, msgspec.Meta(ge=-1)] | None = None
    """For values that are saved without one; -1: they stay."""


class RedisState(RedisInstance):
    longest = 2048

    def __init__(self, server: RedisConnection, ttl: int) -> None:
        super().__init__(server)
        self._ttl = ttl

    async def get(self, keys: Sequence[str]) -> list[Item | None]:
        asked = [call for key in keys for call in (("HMGET", key, "data", "version"), ("PTTL", key))]
        answers = await self._server.calls(asked)
        return [await self._item(key, answers[2 * place], answers[2 * place + 1]) for place, key in enumerate(keys)]

    async def change(self, change: Change) -> None:
        await self._change([change], strong=change.consistency == "strong")

    async def transact(self, changes: Sequence[Change]) -> None:
        await self._change(changes, strong=any(change.consistency == "strong" for change in changes))

    async def _change(self, changes: Sequence[Change], *, strong: bool) -> None:
        from proxy.components.redis_connection import CrossSlot

        arguments = [argument for change in changes for argument in self._arguments(change)]
        script = ("EVAL", _CHANGE, len(changes), *(change.key for change in changes), *arguments)
        if strong and self._server.replicas:
            answer = (await self._server.calls([script, ("WAIT", self._server.replicas, STRONG_WAIT)]))[0]
            if isinstance(answer, Exception):
                raise answer
        else:
            try:
                answer = await self._server.call(*script)
            except CrossSlot as error:
                raise Unsupported(
                    "the keys of a transaction stand on different nodes of the cluster",
                    hint="give them a common {hash tag}",
                ) from error
        if answer:
            raise EtagMismatch(changes[int(answer) - 1].key)

    def _arguments(self, change: Change) -> tuple[Any, ...]:
        etag = change.etag or ""
        if etag and not (etag.isascii() and etag.isdigit()):
            raise EtagInvalid(f"etag `{etag[:40]}` is none of this store: they are numbers")
        if isinstance(change, Remove):
            return "del", etag, "", 0, b""
        return "set", etag, "1" if change.concurrency == "first-write" else "", change.ttl or self._ttl, change.value

    async def _item(self, key: str, fields: Any, expiry: Any) -> Item | None:
        from proxy.components.redis_connection import WrongType

        if isinstance(fields, WrongType):  # a plain string, written by other programs
            value = await self._server.call("GET", key)
            return None if value is None else Item(value=value, etag="", metadata=_expires(expiry))
        if isinstance(fields, Exception):
            raise fields
        data, version = fields
        if data is None and version is None:
            return None
        return Item(value=data or b"", etag=(version or b"").decode(), metadata=_expires(expiry))


def _expires(milliseconds: Any) -> dict[str, str]:
    if not isinstance(milliseconds, int) or milliseconds < 0:
        return {}
    at = datetime.fromtimestamp(time.time() + milliseconds / 1000, UTC)
    return {"ttlExpireTime": at.strftime("%Y-%m-%dT%H:%M:%SZ")}


def open_store(component: Component, metadata: Metadata, _around: Surroundings) -> RedisState:
    from proxy.components.redis_connection import RedisConnection

    return RedisState(RedisConnection(metadata, f"evoke-{component.name}"), metadata.ttl_in_seconds or 0)


DECLARED = Declared(type="state.redis", metadata=Metadata, open=open_store, features=("ETAG", "TRANSACTIONAL", "TTL"))
