"""``bindings.redis``: plain keys of a Redis server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from api.model import Component
from proxy.components.app_state import ttl
from proxy.components.declaration import Declared
from proxy.components.protocols import Answer, ComponentFailed, MetadataIllegal
from proxy.components.redis_metadata import RedisMetadata
from proxy.components.surroundings import Surroundings

if TYPE_CHECKING:
    from proxy.components.redis_connection import RedisConnection

# A counter and its expiry in one step: a proxy that dies between the two leaves no counter that stays for ever.
_INCREMENT = "redis.call('INCR', KEYS[1]) if ARGV[1] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[1]) end"


class Metadata(RedisMetadata, frozen=True, kw_only=True):
    """Sets, reads, deletes and counts; metadata of a request: ``key``, ``ttlInSeconds`` of create and increment, and
    ``delete: true`` of get."""

    direction: str = ""
    """Only ``output``."""


class RedisBinding:
    def __init__(self, server: RedisConnection) -> None:
        self._server = server

    @property
    def trouble(self) -> ComponentFailed | None:
        return self._server.trouble

    async def open(self) -> str:
        return await self._server.open()

    async def probe(self) -> None:
        await self._server.probe()

    async def close(self) -> None:
        await self._server.close()

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:
        key = metadata.get("key", "")
        if not key:
            raise MetadataIllegal("redis binding: missing key in request metadata")
        seconds = max(0, ttl(metadata))
        match operation:
            case "create":
                await self._server.call("SET", key, data, *(("EX", seconds) if seconds else ()))
            case "delete":
                await self._server.call("DEL", key)
            case "increment":
                await self._server.call("EVAL", _INCREMENT, 1, key, seconds)
            case "get":
                once = metadata.get("delete", "").lower() == "true"
                return Answer(data=await self._server.call("GETDEL" if once else "GET", key) or b"")
        return Answer()


def open_binding(component: Component, metadata: Metadata, _around: Surroundings) -> RedisBinding:
    from proxy.components.redis_connection import RedisConnection

    return RedisBinding(RedisConnection(metadata, f"evoke-{component.name}"))


DECLARED = Declared(
    type="bindings.redis", metadata=Metadata, open=open_binding, operations=("create", "get", "delete", "increment")
)
