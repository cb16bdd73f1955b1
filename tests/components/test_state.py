"""Every promise of a state store, on all of them."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from api.model import Component
from api.platform import Platform
from proxy.components.app_state import prefix, ttl
from proxy.components.components import Components
from proxy.components.protocols import (
    EtagInvalid,
    EtagMismatch,
    Item,
    KeyIllegal,
    MetadataIllegal,
    Remove,
    StateStore,
    Write,
)
from tests.brokers import Nats
from tests.components.world import app, component, opened

Body = Callable[[Components, StateStore], Awaitable[None]]
REAL = ["redis", "jetstream", "embedded", "embedded-memory"]
KINDS = ["memory", "sqlite", *(pytest.param(kind, marks=pytest.mark.broker) for kind in REAL)]


class Declared(NamedTuple):
    component: Component
    around: dict[str, Any]


@pytest.fixture(params=KINDS)
def declared(request: pytest.FixtureRequest, tmp_path: Path) -> Declared:
    """A store of its own for each test."""
    kind: str = request.param
    if kind.startswith("embedded"):
        nats: Nats = request.getfixturevalue("nats")
        type_ = "state.in-memory" if kind == "embedded-memory" else "state.jetstream"
        return Declared(component(f"t{time.time_ns()}", type_), {"platform": platform_on(nats)})
    return Declared(_store(kind, request, tmp_path), {})


def platform_on(nats: Nats) -> Platform:
    """A platform whose own broker *nats* is."""
    addresses = {"http": "", "mqtt": "", "nats": nats.settings.nats, "dapr": ""}
    return Platform(**addresses, nats_user=nats.user, nats_password=nats.password, key="00")


def _store(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> Component:
    unique = f"t{time.time_ns()}"
    if kind == "sqlite":
        return component("store", "state.sqlite", {"connectionString": str(tmp_path / "state.db")})
    if kind == "redis":
        host = request.getfixturevalue("redis").host
        return component(unique, "state.redis", {"redisHost": host, "keyPrefix": "name"})
    if kind == "jetstream":
        nats: Nats = request.getfixturevalue("nats")
        url = f"nats://{nats.user}:{nats.password}@{nats.settings.nats}"
        return component("store", "state.jetstream", {"natsURL": url, "bucket": unique})
    return component("store", "state.in-memory")


def on(declared: Declared, body: Body) -> None:
    async def main() -> None:
        async with opened(declared.component, **declared.around) as here:
            await body(here, here.state(app(), declared.component.name))

    asyncio.run(main())


def prefixed(declared: Declared, strategy: str) -> Declared:
    """The same store, as one that all apps may use."""
    old = declared.component
    metadata = {**old.metadata, "keyPrefix": strategy}
    return Declared(component(old.name, old.type, metadata), declared.around)


async def read(store: StateStore, key: str) -> Item | None:
    (item,) = await store.get([key])
    return item


async def value(store: StateStore, key: str) -> bytes | None:
    item = await read(store, key)
    return item.value if item else None


@pytest.mark.parametrize(
    "data", [b"", b"{}", b'"text"', b"\x00\xff\xfe", "grüße".encode(), b"nul\0inside", b"x" * 300_000]
)
def test_bytes_come_back(declared: Declared, data: bytes) -> None:
    async def body(_: Components, store: StateStore) -> None:
        assert await read(store, "k") is None
        await store.change(Write(key="k", value=data))
        item = await read(store, "k")
        assert item is not None
        assert (item.value, item.metadata) == (data, {})
        assert item.etag
        await store.change(Remove(key="k"))
        assert await read(store, "k") is None
        await store.change(Remove(key="k"))

    on(declared, body)


@pytest.mark.parametrize("key", ["a", "a b", "ü/*>.", "$", "a|b", "x" * 1000, ".", "..", "a.b", "UPPER", "upper"])
def test_keys_are_apart(declared: Declared, key: str) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key=key, value=b"1"))
        await store.change(Write(key=key + "x", value=b"2"))
        assert await value(store, key) == b"1"
        await store.change(Remove(key=key))
        assert [item and item.value for item in await store.get([key, key + "x"])] == [None, b"2"]

    on(declared, body)


def test_many_keys_in_their_order(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        for number in range(0, 60, 2):
            await store.change(Write(key=f"k{number}", value=str(number).encode()))
        names = [f"k{number}" for number in range(60)]
        items = await store.get([*names, "k0"])
        found = [item.value if item else None for item in items]
        assert found == [*(str(n).encode() if n % 2 == 0 else None for n in range(60)), b"0"]
        assert len({item.etag for item in items if item}) in {1, 30}, "a number per key, or one of the store"

    on(declared, body)


def test_an_etag_of_before_is_refused(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="k", value=b"1"))
        first = await read(store, "k")
        assert first is not None
        await store.change(Write(key="k", value=b"2", etag=first.etag))
        for change in (Write(key="k", value=b"3", etag=first.etag), Remove(key="k", etag=first.etag)):
            with pytest.raises(EtagMismatch):
                await store.change(change)
        assert await value(store, "k") == b"2"
        await store.change(Write(key="k", value=b"3", etag=first.etag, concurrency="last-write"))
        second = await read(store, "k")
        assert second is not None
        await store.change(Remove(key="k", etag=second.etag))
        assert await value(store, "k") is None

    on(declared, body)


def test_an_etag_of_a_key_that_is_not_there(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        for change in (Write(key="k", value=b"1", etag="7"), Remove(key="k", etag="7")):
            with pytest.raises(EtagMismatch):
                await store.change(change)
        assert await value(store, "k") is None

    on(declared, body)


def test_an_etag_that_the_store_never_gave(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="k", value=b"1"))
        with pytest.raises((EtagInvalid, EtagMismatch)):
            await store.change(Write(key="k", value=b"2", etag="not-an-etag"))
        assert await value(store, "k") == b"1"

    on(declared, body)


def test_a_first_write_finds_nothing_or_fails(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="k", value=b"1", concurrency="first-write"))
        with pytest.raises(EtagMismatch):
            await store.change(Write(key="k", value=b"2", concurrency="first-write"))
        await store.change(Write(key="k", value=b"3"))
        await store.change(Remove(key="k"))
        await store.change(Write(key="k", value=b"4", concurrency="first-write"))
        assert await value(store, "k") == b"4"

    on(declared, body)


def test_of_many_first_writes_one_wins(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        writes = [Write(key="k", value=str(n).encode(), concurrency="first-write") for n in range(20)]
        results = await asyncio.gather(*(store.change(write) for write in writes), return_exceptions=True)
        winners = [n for n, result in enumerate(results) if result is None]
        assert len(winners) == 1
        assert all(isinstance(result, EtagMismatch) for result in results if result is not None)
        assert await value(store, "k") == str(winners[0]).encode()

    on(declared, body)


def test_nothing_is_lost_between_writers_of_one_key(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="n", value=b"0"))

        async def add() -> None:
            for _turn in range(10):
                while True:
                    item = await read(store, "n")
                    assert item is not None
                    try:
                        await store.change(Write(key="n", value=str(int(item.value) + 1).encode(), etag=item.etag))
                    except EtagMismatch:
                        continue
                    break

        await asyncio.gather(*(add() for _worker in range(4)))
        assert await value(store, "n") == b"40"

    on(declared, body)


def test_a_transaction_is_all_or_nothing(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="a", value=b"1"))
        await store.change(Write(key="b", value=b"1"))
        old = await read(store, "b")
        assert old is not None
        await store.change(Write(key="b", value=b"2"))
        with pytest.raises(EtagMismatch):
            await store.transact([
                Write(key="a", value=b"no"),
                Remove(key="a"),
                Write(key="c", value=b"no"),
                Write(key="b", value=b"no", etag=old.etag),
            ])  # fmt: skip
        assert [item and item.value for item in await store.get(["a", "b", "c"])] == [b"1", b"2", None]
        new = await read(store, "b")
        assert new is not None
        await store.transact([
            Write(key="c", value=b"3"), Write(key="b", value=b"3", etag=new.etag), Remove(key="a"),
        ])  # fmt: skip
        assert [item and item.value for item in await store.get(["a", "b", "c"])] == [None, b"3", b"3"]

    on(declared, body)


def test_changes_of_one_key_in_a_transaction_follow_each_other(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="a", value=b"0"))
        await store.transact([Write(key="a", value=b"1"), Remove(key="a"), Write(key="a", value=b"2")])
        assert await value(store, "a") == b"2"
        await store.transact([Write(key="a", value=b"3"), Remove(key="a")])
        assert await value(store, "a") is None

    on(declared, body)


def test_transactions_of_many_at_once(declared: Declared) -> None:
    """Accounts keep their sum, whatever collides."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    draw = random.Random(seed)

    async def body(_: Components, store: StateStore) -> None:
        names = [f"account{n}" for n in range(4)]
        await store.transact([Write(key=name, value=b"100") for name in names])

        async def move() -> None:
            for _turn in range(5):
                one, two = draw.sample(names, 2)
                while True:
                    left, right = await store.get([one, two])
                    assert left is not None
                    assert right is not None
                    try:
                        await store.transact([
                            Write(key=one, value=str(int(left.value) - 1).encode(), etag=left.etag),
                            Write(key=two, value=str(int(right.value) + 1).encode(), etag=right.etag),
                        ])  # fmt: skip
                    except EtagMismatch:
                        continue
                    break

        await asyncio.gather(*(move() for _worker in range(4)))
        assert sum(int(item.value) for item in await store.get(names) if item) == 400

    on(declared, body)


def test_time_to_live(declared: Declared) -> None:
    async def body(_: Components, store: StateStore) -> None:
        await store.change(Write(key="short", value=b"1", metadata={"ttlInSeconds": "1"}))
        await store.change(Write(key="long", value=b"1", metadata={"ttlInSeconds": "100"}))
        await store.change(Write(key="stays", value=b"1", metadata={"ttlInSeconds": "100"}))
        await store.change(Write(key="stays", value=b"2", metadata={"TTLINSECONDS": "-1"}))
        long, stays = await store.get(["long", "stays"])
        assert long is not None
        assert stays is not None
        left = datetime.fromisoformat(long.metadata["ttlExpireTime"]) - datetime.now(UTC)
        assert 90 < left.total_seconds() < 102
        assert stays.metadata == {}
        async with asyncio.timeout(10):
            while await read(store, "short") is not None:  # noqa: ASYNC110 - time passes by itself
                await asyncio.sleep(0.05)
        assert await value(store, "long") == b"1"
        await store.change(Write(key="short", value=b"2", concurrency="first-write"))
        assert await value(store, "short") == b"2"

    on(declared, body)


def test_another_app_has_other_keys(declared: Declared) -> None:
    if declared.component.metadata.get("keyPrefix"):
        declared = prefixed(declared, "appid")

    async def body(here: Components, store: StateStore) -> None:
        await store.change(Write(key="k", value=b"mine"))
        assert await value(here.state(app("bills"), declared.component.name), "k") is None

    on(declared, body)


def test_a_name_as_prefix_is_shared(declared: Declared) -> None:
    declared = prefixed(declared, "name")

    async def body(here: Components, store: StateStore) -> None:
        await store.change(Write(key="k", value=b"ours"))
        assert await value(here.state(app("bills"), declared.component.name), "k") == b"ours"

    on(declared, body)


@pytest.mark.parametrize("key", ["", "a||b", "x" * 5000, "\ud800", "a\0b"])
def test_keys_that_are_none(declared: Declared, key: str) -> None:
    async def body(_: Components, store: StateStore) -> None:
        for call in (store.get([key]), store.change(Write(key=key, value=b"")), store.change(Remove(key=key))):
            with pytest.raises(KeyIllegal):
                await call
        with pytest.raises(KeyIllegal):
            await store.transact([Write(key="good", value=b"1"), Write(key=key, value=b"")])
        assert await value(store, "good") is None

    on(declared, body)


@pytest.mark.parametrize("text", ["abc", "-2", "1.5", "1_0", "9" * 20, "١"])
def test_a_ttl_that_is_none(declared: Declared, text: str) -> None:
    async def body(_: Components, store: StateStore) -> None:
        with pytest.raises(MetadataIllegal, match="ttlInSeconds is"):
            await store.change(Write(key="k", value=b"", metadata={"ttlInSeconds": text}))
        assert await value(store, "k") is None

    on(declared, body)


@pytest.mark.parametrize(
    ("strategy", "wanted"),
    [
        ("appid", "orders||"),
        ("AppId", "orders||"),
        ("name", "store||"),
        ("namespace", "default.orders||"),
        ("none", ""),
        ("Shop", "Shop||"),
    ],
)
def test_prefixes(strategy: str, wanted: str) -> None:
    assert prefix(strategy, component("store", "state.in-memory"), app("orders")) == wanted


@pytest.mark.parametrize(("metadata", "wanted"), [({}, 0), ({"ttlInSeconds": ""}, 0), ({"ttlinseconds": "5"}, 5)])
def test_ttl(metadata: dict[str, Any], wanted: int) -> None:
    assert ttl(metadata) == wanted
    assert ttl({"ttlInSeconds": "0"}) == -1
