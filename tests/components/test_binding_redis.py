"""bindings.redis on a real server."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis as Client

from proxy.components.protocols import ComponentError, MetadataIllegal
from tests.components.world import app, component, opened
from tests.redis import Redis

pytestmark = pytest.mark.broker


def test_operations(redis: Redis) -> None:
    async def main() -> None:
        declared = component("cache", "bindings.redis", {"redisHost": redis.host})
        async with opened(declared) as here, Client(host="127.0.0.1", port=redis.port) as client:
            invoke = here.binding(app(), "cache").invoke
            assert (await invoke("get", b"", {"key": "b"})).data == b""
            await invoke("create", b"\x00 value", {"key": "b"})
            assert await client.get("b") == b"\x00 value"
            assert (await invoke("get", b"", {"key": "b"})).data == b"\x00 value"
            assert (await invoke("get", b"", {"key": "b", "delete": "true"})).data == b"\x00 value"
            assert await client.exists("b") == 0
            await invoke("create", b"1", {"key": "b", "ttlInSeconds": "100"})
            assert 90 < await client.ttl("b") <= 100
            await invoke("increment", b"", {"key": "b"})
            assert await client.get("b") == b"2"
            assert 90 < await client.ttl("b") <= 100
            await invoke("increment", b"", {"key": "n", "ttlInSeconds": "50"})
            assert 40 < await client.ttl("n") <= 50
            await invoke("delete", b"", {"key": "b"})
            assert await client.exists("b") == 0
            with pytest.raises(MetadataIllegal, match="missing key"):
                await invoke("get", b"", {})
            with pytest.raises(MetadataIllegal, match="ttlInSeconds is"):
                await invoke("create", b"", {"key": "b", "ttlInSeconds": "soon"})
            await client.rpush("list", "1")
            for operation in ("get", "increment"):
                with pytest.raises(ComponentError, match="WRONGTYPE"):
                    await invoke(operation, b"", {"key": "list"})

    asyncio.run(main())
