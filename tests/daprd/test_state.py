"""One store, two platforms: what a real daprd writes is read here with its ETag, and the other way round."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from proxy.components.protocols import EtagMismatch, Item, StateStore, Write
from tests.components.world import app, opened
from tests.components.world import component as ours
from tests.daprd.sidecar import Daprd, component, program
from tests.redis import start_redis

pytestmark = pytest.mark.broker


@pytest.fixture(params=["state.redis", "state.sqlite"])
def metadata(request: pytest.FixtureRequest, tmp_path: Path, stack: ExitStack) -> tuple[str, dict[str, str]]:
    """Type and metadata of a store that is empty."""
    program()
    if request.param == "state.redis":
        server = start_redis(tmp_path / "redis")
        stack.callback(server.stop)
        return "state.redis", {"redisHost": server.host, "redisPassword": ""}
    return "state.sqlite", {"connectionString": str(tmp_path / "state.db")}


@pytest.fixture
def daprd(tmp_path: Path, metadata: tuple[str, dict[str, str]]) -> Iterator[Daprd]:
    (tmp_path / "daprd").mkdir()
    sidecar = Daprd(tmp_path / "daprd", "orders", [component(metadata[0], metadata[1], "store")])
    sidecar.start()
    yield sidecar
    sidecar.stop()


def save(daprd: Daprd, **item: Any) -> int:
    return daprd.request("POST", "/v1.0/state/store", json.dumps([item]).encode())[0]


async def read(store: StateStore, key: str) -> Item:
    (item,) = await store.get([key])
    assert item is not None
    return item


def test_state(daprd: Daprd, metadata: tuple[str, dict[str, str]]) -> None:
    async def main() -> None:
        async with opened(ours("store", metadata[0], {**metadata[1]})) as here:
            store = here.state(app("orders"), "store")
            for number, value in enumerate([{"n": 1, "s": "ü"}, "text", 7, None, [1, 2]]):
                assert save(daprd, key=f"k{number}", value=value) == 204
                theirs = await read(store, f"k{number}")
                assert json.loads(theirs.value) == value
                await store.change(Write(key=f"k{number}", value=b'{"by": "us"}', etag=theirs.etag))
                status, body = daprd.request("GET", f"/v1.0/state/store/k{number}")
                assert (status, json.loads(body)) == (200, {"by": "us"})
                new = await read(store, f"k{number}")
                assert save(daprd, key=f"k{number}", value=1, etag=theirs.etag) == 409
                assert save(daprd, key=f"k{number}", value=1, etag=new.etag) == 204
                with pytest.raises(EtagMismatch):
                    await store.change(Write(key=f"k{number}", value=b"2", etag=new.etag))

    asyncio.run(main())


def test_expiry_and_deletion(daprd: Daprd, metadata: tuple[str, dict[str, str]]) -> None:
    async def main() -> None:
        async with opened(ours("store", metadata[0], {**metadata[1]})) as here:
            store = here.state(app("orders"), "store")
            assert save(daprd, key="t", value=1, metadata={"ttlInSeconds": "100"}) == 204
            assert "ttlExpireTime" in (await read(store, "t")).metadata
            await store.change(Write(key="o", value=b"1", metadata={"ttlInSeconds": "1"}))
            async with asyncio.timeout(20):
                while daprd.request("GET", "/v1.0/state/store/o")[0] != 204:  # noqa: ASYNC110 - time passes by itself
                    await asyncio.sleep(0.1)
            assert daprd.request("DELETE", "/v1.0/state/store/t")[0] == 204
            assert await store.get(["t"]) == [None]

    asyncio.run(main())


def test_transactions(daprd: Daprd, metadata: tuple[str, dict[str, str]]) -> None:
    async def main() -> None:
        async with opened(ours("store", metadata[0], {**metadata[1]})) as here:
            store = here.state(app("orders"), "store")
            operations = [
                {"operation": "upsert", "request": {"key": "a", "value": 1}},
                {"operation": "upsert", "request": {"key": "b", "value": 2}},
                {"operation": "delete", "request": {"key": "a"}},
            ]
            body = json.dumps({"operations": operations}).encode()
            assert daprd.request("POST", "/v1.0/state/store/transaction", body)[0] == 204
            assert [item and item.value for item in await store.get(["a", "b"])] == [None, b"2"]
            await store.transact([Write(key="a", value=b"3"), Write(key="b", value=b"4")])
            assert daprd.request("GET", "/v1.0/state/store/b") == (200, b"4")

    asyncio.run(main())
