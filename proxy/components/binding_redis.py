"""``bindings.redis``: plain keys of a Redis server."""

from __future__ import annotations

from collections.abc import Mapping

from api.model import Component
from proxy.components.app_state import ttl
from proxy.components.declaration import Declared
from proxy.components.protocols import Answer, MetadataIllegal
from proxy.components.redis_instance import RedisInstance
from proxy.components.redis_metadata import RedisMetadata
from proxy.components.surroundings import Surroundings

# A counter and its expiry in one step: a proxy that dies between the two leaves no counter that stays for ever.
_INCREMENT = "redis.call('INCR', KEYS[1]) if ARGV[1] ~= '0' then redis.call('EXPIRE', KEYS[1], ARGV[1]) end"


class Metadata(RedisMetadata, frozen=True, kw_only=True):
    """Sets, reads, deletes and counts; metadata of a request: ``key``, ``ttlInSeconds`` of create and increment, and
    ``delete: true`` of get."""

    direction: str = ""
    """Only ``output``."""


class RedisBinding(RedisInstance):
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
