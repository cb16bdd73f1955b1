"""What every component on a Redis server has in common: it is there while its connection is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from proxy.components.protocols import ComponentFailed

if TYPE_CHECKING:
    from proxy.components.redis_connection import RedisConnection


class RedisInstance:
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
