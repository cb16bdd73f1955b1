"""Redis as people run it: TLS with certificates of both sides, a cluster, Sentinel, many calls at once."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from redis import Redis as Client

from api.platform import LOOPBACK, spare
from proxy.components.components import Components
from proxy.components.protocols import ComponentFailed, EtagMismatch, StateStore, Unsupported, Write
from tests.certificates import Authority
from tests.components.world import app, component, opened, until
from tests.redis import Redis, start_redis

pytestmark = pytest.mark.broker
Body = Callable[[Components, StateStore], Awaitable[None]]


def on(body: Body, **metadata: str) -> None:
    async def main() -> None:
        async with opened(component("store", "state.redis", {**metadata})) as here:
            await body(here, here.state(app(), "store"))

    asyncio.run(main())


async def works(_: Components, store: StateStore) -> None:
    await store.transact([Write(key="a{1}", value=b"1"), Write(key="b{1}", value=b"2")])
    assert [item and item.value for item in await store.get(["a{1}", "b{1}", "c{1}"])] == [b"1", b"2", None]
    with pytest.raises(EtagMismatch):
        await store.change(Write(key="a{1}", value=b"3", etag="77", consistency="strong"))


async def refused(_: Components, store: StateStore) -> None:
    with pytest.raises(ComponentFailed) as failed:
        await store.get(["a"])
    assert failed.value.reason in {"TLSFailed", "Unreachable"}


def test_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca")
    server_cert, client_cert = authority.issue(LOOPBACK), authority.issue("orders")
    server = start_redis(tmp_path / "r", ["tls-auth-clients yes"], tls=(authority.ca, *server_cert))
    try:
        host = {"redisHost": server.host, "enableTLS": "true"}
        on(works, **host, caCert=authority.ca, clientCert=client_cert[0], clientKey=client_cert[1])
        on(refused, **host, caCert=authority.ca)
        on(refused, **host, clientCert=client_cert[0], clientKey=client_cert[1])
    finally:
        server.stop()


def test_a_cluster(tmp_path: Path) -> None:
    server = start_redis(tmp_path, ["cluster-enabled yes", f"cluster-port {spare()}"])
    client = Client(host=LOOPBACK, port=server.port)

    async def body(here: Components, store: StateStore) -> None:
        await works(here, store)
        with pytest.raises(Unsupported, match=r"different nodes of the cluster; give them a common \{hash tag\}"):
            await store.transact([Write(key="x", value=b"1"), Write(key="y", value=b"1")])
        assert await store.get(["x", "y", "z"]) == [None, None, None]
        for number in range(20):
            await store.change(Write(key=f"k{number}", value=str(number).encode()))
        items = await store.get([f"k{number}" for number in range(20)])
        assert [int(item.value) for item in items if item] == list(range(20))

    try:
        client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        asyncio.run(until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok"))
        on(body, redisHost=server.host, redisType="cluster")
    finally:
        client.close()
        server.stop()


def test_sentinel_names_the_master(redis: Redis, tmp_path: Path) -> None:
    sentinel = Redis(tmp_path / "s")
    lines = [f"bind {LOOPBACK}", f"port {sentinel.port}", f"dir {tmp_path}"]
    sentinel.config.write_text("\n".join([*lines, f"sentinel monitor stock {LOOPBACK} {redis.port} 1", ""]))
    sentinel.start("--sentinel")
    try:
        asked = {"redisHost": sentinel.host, "failover": "true"}
        on(works, **asked, sentinelMasterName="stock")
        on(refused, **asked, sentinelMasterName="other")
    finally:
        sentinel.stop()


def test_more_calls_than_connections(redis: Redis) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await asyncio.gather(*(store.change(Write(key=f"many{n}", value=str(n).encode())) for n in range(500)))
        items = await asyncio.gather(*(store.get([f"many{n}"]) for n in range(500)))
        assert [int(item.value) for (item,) in items if item] == list(range(500))

    on(body, redisHost=redis.host, poolSize="3")


def test_a_server_that_hangs(tmp_path: Path) -> None:
    server = start_redis(tmp_path)

    async def body(here: Components, store: StateStore) -> None:
        await store.get(["a"])
        server.freeze()
        try:
            with pytest.raises(ComponentFailed):
                await store.get(["a"])
            assert not here.readings()[0].connected
        finally:
            server.thaw()
        await until(lambda: here.readings()[0].connected)
        await store.get(["a"])

    try:
        on(body, redisHost=server.host, readTimeout="100", dialTimeout="100ms")
    finally:
        server.stop()


def test_a_call_that_was_given_up_answers_nobody_else(redis: Redis) -> None:
    seed = random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)

    async def body(_: Components, store: StateStore) -> None:
        for number in range(50):
            await store.change(Write(key=f"own{number}", value=str(number).encode()))

        async def ask(number: int) -> None:
            (item,) = await store.get([f"own{number}"])
            assert item is not None
            assert int(item.value) == number

        for _turn in range(20):
            asking = [asyncio.create_task(ask(number)) for number in range(50)]
            for _step in range(draw.randrange(6)):
                await asyncio.sleep(0)
            for task in draw.sample(asking, 20):
                task.cancel()
            for result in await asyncio.gather(*asking, return_exceptions=True):
                assert result is None or isinstance(result, asyncio.CancelledError)

    on(body, redisHost=redis.host, poolSize="5")
