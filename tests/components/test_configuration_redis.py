"""configuration.redis: values with versions, and every change told, outages included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis.asyncio import Redis as Client

from proxy.components import configuration_redis
from proxy.components.protocols import ConfigurationStore, Value
from proxy.dapr.caller import Caller
from proxy.dapr.configurations import Configurations
from tests.components.world import app, component, opened
from tests.redis import Redis, start_redis

pytestmark = pytest.mark.broker
Body = Callable[[ConfigurationStore, Client], Awaitable[None]]


def on(server: Redis, body: Body) -> None:
    async def main() -> None:
        declared = component("settings", "configuration.redis", {"redisHost": server.host})
        async with opened(declared) as here, Client(host="127.0.0.1", port=server.port) as client:
            await client.flushdb()
            await body(here.configuration(app(), "settings"), client)

    asyncio.run(main())


class Seen:
    """What a watch has told, and a way to wait for it."""

    def __init__(self) -> None:
        self.items: dict[str, Value] = {}

    async def until(self, **wanted: str) -> None:
        async with asyncio.timeout(20):
            while {name: self.items[name].value for name in wanted if name in self.items} != wanted:  # noqa: ASYNC110 - told by a task
                await asyncio.sleep(0.01)


@asynccontextmanager
async def watching(store: ConfigurationStore, *keys: str) -> AsyncIterator[Seen]:
    """Told of every change from now on."""
    seen, begun = Seen(), asyncio.Event()

    async def follow() -> None:
        async for items in store.watch(keys, {}):
            assert items or not begun.is_set()
            begun.set()
            seen.items |= items

    task = asyncio.create_task(follow())
    try:
        async with asyncio.timeout(20):
            await begun.wait()
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def test_values(redis: Redis) -> None:
    async def body(store: ConfigurationStore, client: Client) -> None:
        await client.mset({"plain": "1", "versioned": "2||v7", "empty": "", "other": "ü"})
        await client.rpush("list", "1")
        wanted = {"plain": Value(value="1"), "versioned": Value(value="2", version="v7")}
        assert await store.get(["plain", "versioned", "empty", "missing", "list"], {}) == wanted
        assert await store.get([], {}) == {**wanted, "other": Value(value="ü")}

    on(redis, body)


def test_changes_are_told(redis: Redis) -> None:
    async def body(store: ConfigurationStore, client: Client) -> None:
        await client.mset({"a": "1", "b": "1"})
        async with watching(store, "a", "c") as seen:
            await client.set("b", "unwatched")
            await client.set("a", "2||v2")
            await client.set("c", "new")
            await seen.until(a="2", c="new")
            assert seen.items["a"].version == "v2"
            await client.delete("a")
            await seen.until(a="")
            assert set(seen.items) == {"a", "c"}

    on(redis, body)


def test_everything_is_watched_where_no_key_is_named(redis: Redis) -> None:
    async def body(store: ConfigurationStore, client: Client) -> None:
        async with watching(store) as seen:
            await client.mset({"x": "1", "y": "2"})
            await seen.until(x="1", y="2")

    on(redis, body)


def test_a_server_that_sends_no_notifications_is_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration_redis, "LOOK_EVERY", 0.05)
    server = start_redis(tmp_path, ["rename-command CONFIG ''"])

    async def body(store: ConfigurationStore, client: Client) -> None:
        await client.set("a", "1")
        async with watching(store, "a") as seen:
            await client.set("a", "2")
            await seen.until(a="2")

    try:
        on(server, body)
    finally:
        server.stop()


def test_what_changed_during_an_outage_is_told_after_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(configuration_redis, "AGAIN", 0.05)
    server = start_redis(tmp_path)

    async def body(store: ConfigurationStore, client: Client) -> None:
        await client.mset({"a": "1", "gone": "1"})
        async with watching(store, "a", "gone") as seen:
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await client.set("a", "2")
            await client.delete("gone")
            await seen.until(a="2", gone="")

    try:
        on(server, body)
    finally:
        server.stop()


def test_a_change_right_after_the_answer_is_told(redis: Redis) -> None:
    async def main() -> None:
        declared = component("settings", "configuration.redis", {"redisHost": redis.host})
        async with opened(declared) as here, Client(host="127.0.0.1", port=redis.port) as client:
            configurations = Configurations(here)
            for turn in range(20):
                watch = configurations.watch(Caller(app()), "settings", ["turn"], {})
                await watch.begun()
                await client.set("turn", str(turn))
                async with asyncio.timeout(20):
                    async for items in watch:
                        assert items == {"turn": Value(value=str(turn))}
                        break
                await configurations.end(Caller(app()), "settings", watch.id)

    asyncio.run(main())
