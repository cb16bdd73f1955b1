"""state.redis beside daprd on one server, and when the server refuses, goes or comes back."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from api.model import Component
from proxy.components import link
from proxy.components.components import Components
from proxy.components.protocols import ComponentError, ComponentFailed, EtagMismatch, StateStore, Write
from tests.components.world import app, component, opened, until
from tests.redis import Redis, start_redis

pytestmark = pytest.mark.broker
Body = Callable[[Components, StateStore, Client], Awaitable[None]]


def on(server: Redis, body: Body, metadata: dict[str, str] | None = None, **fields: object) -> None:
    declared: Component = component("store", "state.redis", {"redisHost": server.host, **(metadata or {})}, **fields)

    async def main() -> None:
        async with opened(declared) as here, Client(host="127.0.0.1", port=server.port) as client:
            await body(here, here.state(app(), "store"), client)

    asyncio.run(main())


def test_the_layout_is_that_of_daprd(redis: Redis) -> None:
    async def body(_: Components, store: StateStore, client: Client) -> None:
        await store.change(Write(key="ours", value=b'{"n": 1}'))
        kept = await client.hgetall("orders||ours")
        assert kept[b"data"] == b'{"n": 1}'
        assert set(kept) == {b"data", b"version"}
        assert int(kept[b"version"]) > 1_700_000_000_000_000
        await store.change(Write(key="ours", value=b"2"))
        assert int(await client.hget("orders||ours", "version")) == int(kept[b"version"]) + 1
        await store.change(Write(key="flag", value=b"1", concurrency="first-write"))
        assert (await client.hgetall("orders||flag"))[b"first-write"] == b"0"
        await client.hset("orders||theirs", mapping={"data": '"text"', "version": 41})
        (item,) = await store.get(["theirs"])
        assert item is not None
        assert (item.value, item.etag) == (b'"text"', "41")
        await store.change(Write(key="theirs", value=b"2", etag="41"))
        assert await client.hget("orders||theirs", "version") == b"42"
        await client.hset("orders||flagged", mapping={"data": "1", "version": 1, "first-write": 0})
        await store.change(Write(key="flagged", value=b"2"))
        assert await client.hget("orders||flagged", "first-write") == b"0"

    on(redis, body)


def test_strings_of_other_programs_are_read_and_lists_left_alone(redis: Redis) -> None:
    async def body(_: Components, store: StateStore, client: Client) -> None:
        await client.set("orders||plain", "text")
        (item,) = await store.get(["plain"])
        assert item is not None
        assert (item.value, item.etag) == (b"text", "")
        await store.change(Write(key="plain", value=b"hash"))
        assert await client.hget("orders||plain", "data") == b"hash"
        await client.rpush("orders||list", "1")
        for call in (store.get(["list"]), store.change(Write(key="list", value=b""))):
            with pytest.raises(ComponentError, match="WRONGTYPE"):
                await call
        with pytest.raises(ComponentError, match="WRONGTYPE"):
            await store.transact([Write(key="other", value=b"1"), Write(key="list", value=b"")])
        assert await store.get(["other"]) == [None]
        assert await client.lrange("orders||list", 0, -1) == [b"1"]

    on(redis, body)


def test_expiry_stays_until_it_is_changed(redis: Redis) -> None:
    async def body(_: Components, store: StateStore, client: Client) -> None:
        await store.change(Write(key="e", value=b"1"))
        assert 90 < await client.ttl("orders||e") <= 100, "metadata ttlInSeconds of the component"
        await store.change(Write(key="e", value=b"1", metadata={"ttlInSeconds": "1000"}))
        assert 900 < await client.ttl("orders||e") <= 1000
        await store.change(Write(key="e", value=b"1", metadata={"ttlInSeconds": "-1"}))
        assert await client.ttl("orders||e") == -1
        with pytest.raises(EtagMismatch):
            await store.change(Write(key="e", value=b"1", etag="77", metadata={"ttlInSeconds": "5"}))
        assert await client.ttl("orders||e") == -1

    on(redis, body, {"ttlInSeconds": "100"})


def test_a_server_that_goes_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "PROBE_EVERY", 0.05)
    server = start_redis(tmp_path)

    async def body(here: Components, store: StateStore, _: Client) -> None:
        await store.change(Write(key="k", value=b"1"))
        assert here.readings()[0].connected
        await asyncio.to_thread(server.kill)
        with pytest.raises(ComponentFailed) as failed:
            await store.get(["k"])
        assert failed.value.reason == "ConnectionRefused"
        assert not here.readings()[0].connected
        await asyncio.to_thread(server.start)
        await until(lambda: here.readings()[0].connected)
        (item,) = await store.get(["k"])
        assert item is not None

    try:
        on(server, body)
    finally:
        server.stop()


def test_a_server_that_is_not_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RETRY", (0.05,))
    server = start_redis(tmp_path)
    server.kill()

    async def body(here: Components, store: StateStore, _: Client) -> None:
        with pytest.raises(ComponentFailed) as failed:
            await store.get(["k"])
        assert failed.value.reason == "ConnectionRefused"
        await asyncio.to_thread(server.start)
        await until(lambda: here.readings()[0].connected)
        assert await here.state(app(), "store").get(["k"]) == [None]

    try:
        on(server, body)
    finally:
        server.stop()


def test_passwords(tmp_path: Path) -> None:
    server = start_redis(tmp_path, ["requirepass hunter2", "user dapr on >sesame ~* &* +@all"])

    async def wrong(_: Components, store: StateStore, __: Client) -> None:
        with pytest.raises(ComponentFailed) as failed:
            await store.get(["k"])
        assert failed.value.reason == "AuthFailed"
        assert "sesam" not in str(failed.value)

    async def right(_: Components, store: StateStore, __: Client) -> None:
        assert await store.get(["k"]) == [None]

    try:
        on(server, wrong)
        on(server, wrong, {"redisUsername": "dapr", "redisPassword": "sesam"})
        on(server, right, {"redisPassword": "hunter2"})
        on(server, right, {"redisUsername": "dapr", "redisPassword": "sesame"})
    finally:
        server.stop()


def test_a_full_server_says_so(tmp_path: Path) -> None:
    server = start_redis(tmp_path, ["maxmemory 1mb"])

    async def body(_: Components, store: StateStore, __: Client) -> None:
        with pytest.raises(ComponentFailed) as failed:
            await asyncio.gather(*(store.change(Write(key=f"k{n}", value=b"x" * (1 << 20))) for n in range(3)))
        assert failed.value.reason == "StorageFailed"

    try:
        on(server, body)
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("metadata", "wanted"),
    [
        ({"redisHost": "host:0"}, r"redisHost\]: `host:0` is no address; write host:6379"),
        ({"redisHost": "a:b:c"}, "is no address"),
        ({"redisHost": "h", "failover": "true"}, "it needs sentinelMasterName"),
        ({"redisHost": "h", "insecureSkipTLSVerify": "true"}, "certificates are always checked"),
        ({"redisHost": "h", "redisType": "cluster", "redisDB": "3"}, "a cluster has database 0 only"),
        ({"redisHost": "h", "useEntraID": "true"}, r"useEntraID\]: it is not supported: sign in with"),
    ],
)
def test_metadata_that_does_not_hold(metadata: dict[str, str], wanted: str) -> None:
    async def main() -> None:
        async with opened(component("store", "state.redis", {**metadata})) as here:
            with pytest.raises(ComponentFailed, match=wanted):
                await here.state(app(), "store").get(["k"])

    asyncio.run(main())
