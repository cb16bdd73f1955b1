"""Redis streams against a real server: nothing is acknowledged there that the bus does not have."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis

from api.meta import Key
from api.model import Source
from api.platform import LOOPBACK, spare
from eventbus.errors import TooLarge, Unreachable
from tests.certificates import authority
from tests.redis import Redis, start_redis
from triggers.sources.redis import RedisSource
from triggers.sources.redis_client import RedisStream, read_settings
from triggers.sources.source import BadSource, SourceError

pytestmark = pytest.mark.broker

KEY = Key("shop", "stock.orders")
GROUP = "shop-stock-orders"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    made = start_redis(tmp_path_factory.mktemp("redis"))
    yield made
    made.stop()


@pytest.fixture
def client(server: Redis) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port) as made:
        made.flushall()
        yield made


class Bus:
    """Stores events by dedupe id, while it is up."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.down = False
        self._seen: set[str] = set()

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None:
        await asyncio.sleep(0)
        if self.down:
            raise Unreachable("the bus is away")
        event = json.loads(payload)
        if isinstance(event.get("data"), str) and len(event["data"]) > 1000:
            raise TooLarge("the event is too large")
        if dedupe not in self._seen:
            self._seen.add(dedupe)
            self.events.append(event)

    def data(self) -> list[Any]:
        return [event.get("data") for event in self.events]


def made(**options: str) -> RedisSource:
    source = Source(key=KEY, kind="redis", bus=Key("shop", "default"), subject="s", options=dict(options))
    return RedisSource(source, options)


@asynccontextmanager
async def running(bus: Bus, **options: str) -> AsyncIterator[RedisSource]:
    """A source that is killed at the end: it gets no time to finish anything."""
    source = made(**{"redisMaxRetryInterval": "200ms", **options})
    task = asyncio.create_task(source.run(bus))
    try:
        yield source
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what is observed is another process
            await asyncio.sleep(0.005)


async def reason(source: RedisSource, wanted: str) -> str:
    await until(lambda: source.state().reason == wanted)
    assert not source.state().connected
    return source.state().message


def waiting(client: redis.Redis) -> int:
    """Entries given to the group and not acknowledged; 0 where there is no group yet."""
    try:
        found: Any = client.xpending("orders", GROUP)
    except redis.ResponseError:
        return 0
    return int(found["pending"])


def test_entries_come_in_order_and_are_acknowledged(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        for number in range(500):
            client.xadd("orders", {"data": number, "partitionkey": "k"})
        bus = Bus()
        async with running(bus, redisHost=server.host) as source:
            await until(lambda: len(bus.events) == 500)
            client.xadd("orders", {"data": 500, "partitionkey": "k"})
            await until(lambda: len(bus.events) == 501 and not waiting(client))
            assert bus.data() == list(range(501))
            state = source.state()
            assert (state.connected, state.received, state.published, state.reason) == (True, 501, 501, "")

    asyncio.run(scenario())


def test_nothing_is_acknowledged_while_the_bus_is_away(server: Redis, client: redis.Redis) -> None:
    """The source is killed with entries in its hands; whoever has it next goes on with them, in order."""

    async def scenario() -> None:
        bus = Bus()
        bus.down = True
        for number in range(10):
            client.xadd("orders", {"data": number})
        async with running(bus, redisHost=server.host):
            await until(lambda: waiting(client) == 10)
        client.xadd("orders", {"data": 10})
        async with running(bus, redisHost=server.host) as source:
            await until(lambda: source.state().received == 10)
            assert waiting(client) == 10
            bus.down = False
            await until(lambda: len(bus.events) == 11 and not waiting(client))
        assert bus.data() == list(range(11))

    asyncio.run(scenario())


def test_what_another_consumer_left_is_taken_over(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        client.xgroup_create("orders", GROUP, id="0", mkstream=True)
        for number in range(3):
            client.xadd("orders", {"data": number})
        client.xreadgroup(GROUP, "somebody", {"orders": ">"})
        client.xadd("orders", {"data": 3})
        bus = Bus()
        async with running(bus, redisHost=server.host, processingTimeout="1ms", redeliverInterval="10ms"):
            await until(lambda: len(bus.events) == 4 and not waiting(client))
        assert sorted(bus.data()) == [0, 1, 2, 3]

    asyncio.run(scenario())


def test_what_the_bus_does_not_take_stands_there_without_its_data(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        place = client.xadd("orders", {"data": "x" * 2000, "partitionkey": "k"})
        client.xadd("orders", {"data": "next", "partitionkey": "k"})
        bus = Bus()
        async with running(bus, redisHost=server.host) as source:
            await until(lambda: len(bus.events) == 2 and not waiting(client))
            assert "1 messages were rejected" in source.state().message
        assert isinstance(place, bytes)
        rejected = bus.events[0]
        assert (rejected["type"], rejected["id"]) == ("io.evoke.source.rejected", place.decode())
        assert (rejected["evokeerror"], rejected["partitionkey"]) == ("the event is too large", "k")
        assert "data" not in rejected

    asyncio.run(scenario())


def test_large_entries_are_read_few_at_a_time(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        for _ in range(12):
            client.xadd("orders", {"data": b"\xff" * (1 << 20)})
        stream = RedisStream(read_settings(KEY, {"redisHost": server.host}))
        await stream.open()
        try:
            counts = []
            for _ in range(3):
                client.xadd("orders", {"data": b"\xff" * (1 << 20)})
                counts.append(len(await stream.read(">")))
            assert counts == [13, 1, 1]
        finally:
            await stream.close()

    asyncio.run(scenario())


def test_deleted_entries_and_a_lost_group_do_not_stop_it(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        bus = Bus()
        bus.down = True
        gone = client.xadd("orders", {"data": 0})
        client.xadd("orders", {"data": 1})
        async with running(bus, redisHost=server.host):
            await until(lambda: waiting(client) == 2)
        assert isinstance(gone, bytes)
        client.xdel("orders", gone)
        bus.down = False
        async with running(bus, redisHost=server.host) as source:
            await until(lambda: bus.data() == [1] and not waiting(client))
            assert "1 entries were deleted" in source.state().message
            client.delete("orders")
            client.xadd("orders", {"data": 2})
            await until(lambda: bus.data() == [1, 2])

    asyncio.run(scenario())


def test_a_killed_server_and_its_return(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncio.to_thread(start_redis, tmp_path / "r")
        bus = Bus()
        try:
            with redis.Redis(port=server.port) as client:
                client.xadd("orders", {"data": 0})
                async with running(bus, redisHost=server.host) as source:
                    await until(lambda: bus.data() == [0])
                    await asyncio.to_thread(server.kill)
                    assert "nothing listens" in await reason(source, "ConnectionRefused")
                    await asyncio.to_thread(server.start)
                    client.xadd("orders", {"data": 1})
                    await until(lambda: bus.data() == [0, 1] and source.state().connected)
        finally:
            await asyncio.to_thread(server.stop)

    asyncio.run(scenario())


def test_a_server_that_hangs(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        bus = Bus()
        client.xadd("orders", {"data": 0})
        async with running(bus, redisHost=server.host, readTimeout="100ms") as source:
            await until(lambda: bus.data() == [0])
            await asyncio.to_thread(server.freeze)
            try:
                assert "says nothing" in await reason(source, "Unreachable")
            finally:
                server.thaw()
            client.xadd("orders", {"data": 1})
            await until(lambda: bus.data() == [0, 1] and source.state().connected)

    asyncio.run(scenario())


def test_credentials_and_rights(tmp_path: Path) -> None:
    lines = ["user default off", "user reader on >s3cret ~orders +@all", "user blind on >s3cret ~orders +ping +hello"]

    async def scenario() -> None:
        server = await asyncio.to_thread(start_redis, tmp_path / "r", lines)
        login = {"redisHost": server.host, "redisUsername": "reader"}
        try:
            for wrong in ({"redisHost": server.host}, {**login, "redisPassword": "other"}):
                async with running(Bus(), **wrong) as source:
                    message = await reason(source, "AuthFailed")
                    assert "redisPassword" in message
                    assert "other" not in message
            async with running(Bus(), **{**login, "redisUsername": "blind", "redisPassword": "s3cret"}) as source:
                await reason(source, "AuthFailed")
            bus = Bus()
            with redis.Redis(port=server.port, username="reader", password="s3cret") as client:
                client.xadd("orders", {"data": 1})
            async with running(bus, **login, redisPassword="s3cret"):
                await until(lambda: bus.data() == [1])
        finally:
            await asyncio.to_thread(server.stop)

    asyncio.run(scenario())


def test_tls(tmp_path: Path) -> None:
    issuer = authority(tmp_path / "ca")
    certificate, key = issuer.issue(LOOPBACK)

    async def scenario() -> None:
        server = await asyncio.to_thread(start_redis, tmp_path / "r", tls=(issuer.ca, certificate, key))
        try:
            bus = Bus()
            async with running(bus, redisHost=server.host, enableTLS="true", caCert=issuer.ca) as source:
                await until(lambda: source.state().connected)
                await source.publish("", b"over tls")
                await until(lambda: bus.data() == ["over tls"])
            for options in ({"enableTLS": "true"}, {}):
                async with running(Bus(), redisHost=server.host, **options) as source:
                    await reason(source, "TLSFailed")
        finally:
            await asyncio.to_thread(server.stop)

    asyncio.run(scenario())


def test_other_troubles_have_other_names(server: Redis, client: redis.Redis) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()
        writer.close()

    async def scenario() -> None:
        foreign = await asyncio.start_server(other, LOOPBACK, 0)
        port = foreign.sockets[0].getsockname()[1]
        hosts = {
            f"{LOOPBACK}:{port}": "NotABroker",
            f"{LOOPBACK}:{spare()}": "ConnectionRefused",
            "none.invalid": "HostUnknown",
        }
        for host, wanted in hosts.items():
            async with running(Bus(), redisHost=host) as source:
                await reason(source, wanted)
        foreign.close()
        client.set("orders", "a string")
        bus = Bus()
        async with running(bus, redisHost=server.host) as source:
            assert "is no stream" in await reason(source, "Missing")
            client.delete("orders")
            client.xadd("orders", {"data": 1})
            await until(lambda: bus.data() == [1] and source.state().connected)

    asyncio.run(scenario())


def test_a_cluster(tmp_path: Path) -> None:
    async def scenario() -> None:
        server = await asyncio.to_thread(
            start_redis, tmp_path / "r", ["cluster-enabled yes", f"cluster-port {spare()}"]
        )
        try:
            with redis.Redis(port=server.port) as client:
                client.execute_command("CLUSTER ADDSLOTSRANGE 0 16383")
                await until(lambda: client.execute_command("CLUSTER INFO")["cluster_state"] == "ok")
                client.xadd("orders", {"data": 1})
            bus = Bus()
            async with running(bus, redisHost=server.host, redisType="cluster") as source:
                await until(lambda: source.state().connected)
                await source.publish("orders", b"2")
                await until(lambda: bus.data() == [1, 2])
        finally:
            await asyncio.to_thread(server.stop)

    asyncio.run(scenario())


def test_sentinel_names_the_master(server: Redis, client: redis.Redis, tmp_path: Path) -> None:
    lines = [f"sentinel monitor stock {LOOPBACK} {server.port} 1"]
    sentinel = Redis(tmp_path / "s")
    sentinel.config.write_text("\n".join([f"bind {LOOPBACK}", f"port {sentinel.port}", f"dir {tmp_path}", *lines, ""]))

    async def scenario() -> None:
        await asyncio.to_thread(sentinel.start, "--sentinel")
        try:
            client.xadd("orders", {"data": 1})
            bus = Bus()
            asked = {"redisHost": sentinel.host, "failover": "true", "sentinelMasterName": "stock"}
            async with running(bus, **asked):
                await until(lambda: bus.data() == [1])
            async with running(Bus(), **{**asked, "sentinelMasterName": "other"}) as source:
                assert "other" in await reason(source, "Unreachable")
        finally:
            await asyncio.to_thread(sentinel.stop)

    asyncio.run(scenario())


def test_publishing_through_the_source(server: Redis, client: redis.Redis) -> None:
    async def scenario() -> None:
        bus = Bus()
        with pytest.raises(SourceError, match="not connected"):
            await made(redisHost=server.host).publish("", b"x")
        async with running(bus, redisHost=server.host, stream="orders") as source:
            await until(lambda: source.state().connected)
            await source.publish("", b"x")
            with pytest.raises(SourceError, match="reads stream orders"):
                await source.publish("others", b"x")
            await until(lambda: bus.data() == ["x"])

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "options",
    [
        {"redisHost": ""},
        {"redisHost": "h:port"},
        {"redisHost": "h:6379", "redisType": "ring"},
        {"redisHost": "h:6379", "failover": "true"},
        {"redisHost": "h:6379", "redisType": "cluster", "redisDB": "3"},
        {"redisHost": "h:6379", "processingTimeout": "soon"},
        {"redisHost": "h:6379", "dialTimeout": "-1s"},
    ],
)
def test_options_that_do_not_hold(options: dict[str, str]) -> None:
    with pytest.raises(BadSource):
        read_settings(KEY, options)


def test_options_as_dapr_writes_them() -> None:
    settings = read_settings(KEY, {"redisHost": "h", "processingTimeout": "1500", "redeliverInterval": "0"})
    assert (settings.server.hosts, settings.idle, settings.claim_every) == ((("h", 6379),), 1.5, 0)
