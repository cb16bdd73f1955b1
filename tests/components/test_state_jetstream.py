"""state.jetstream on buckets of other makers, over outages, and apart from everything else on the platform's server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import nats as client
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.meta import Key
from api.model import Component
from proxy.components import jetstream_bucket
from proxy.components.components import Components
from proxy.components.jetstream_names import own_bucket, token
from proxy.components.protocols import ComponentFailed, EtagMismatch, Remove, StateStore, TooMuch, Unsupported, Write
from tests.brokers import Nats, start_nats
from tests.components.test_state import platform_on
from tests.components.world import app, component, opened, until

Body = Callable[[Components, StateStore, Any], Awaitable[None]]


def on(server: Nats, declared: Component, body: Body, prepare: Body | None = None, **around: Any) -> None:
    """*body* gets the store and a NATS client's JetStream; *prepare* runs before the component is declared."""

    async def main() -> None:
        connection = await client.connect(server.url, user=server.user, password=server.password)
        try:
            if prepare is not None:
                await prepare(None, None, connection.jetstream())  # type: ignore[arg-type]
            async with opened(declared, **around) as here:
                await body(here, here.state(app(), declared.name), connection.jetstream())
        finally:
            await connection.close()

    asyncio.run(main())


def store_on(server: Nats, bucket: str, **metadata: str) -> Component:
    url = f"nats://{server.user}:{server.password}@{server.settings.nats}"
    return component("store", "state.jetstream", {"natsURL": url, "bucket": bucket, **metadata})


def name() -> str:
    return f"b{time.time_ns()}"


@pytest.mark.broker
def test_the_layout_is_that_of_daprd(nats: Nats) -> None:
    bucket = name()

    async def body(_: Components, store: StateStore, js: Any) -> None:
        await store.change(Write(key="ours", value=b"1"))
        kept = await js.key_value(bucket)
        assert (await kept.get("orders.ours")).value == b"1"
        await kept.put("orders.theirs", b"2")
        (item,) = await store.get(["theirs"])
        assert item is not None
        assert item.value == b"2"
        await store.change(Write(key="theirs", value=b"3", etag=item.etag))
        await kept.delete("orders.theirs")
        assert await store.get(["theirs"]) == [None]
        await store.change(Write(key="theirs", value=b"4", concurrency="first-write"))
        await store.change(Remove(key="ours"))
        with pytest.raises(client.js.errors.KeyNotFoundError):
            await kept.get("orders.ours")

    on(nats, store_on(nats, bucket), body)


@pytest.mark.broker
def test_a_bucket_that_cannot_do_it_says_so(nats: Nats) -> None:
    bucket = name()

    async def prepare(_: Components, __: StateStore, js: Any) -> None:
        await js.add_stream(name=f"KV_{bucket}", subjects=[f"$KV.{bucket}.>"], max_msgs_per_subject=5)

    async def body(_: Components, store: StateStore, __: Any) -> None:
        await store.change(Write(key="a", value=b"1"))
        with pytest.raises(Unsupported, match="make it with allow_msg_ttl"):
            await store.change(Write(key="a", value=b"2", metadata={"ttlInSeconds": "5"}))
        with pytest.raises(Unsupported, match="make it with allow_atomic"):
            await store.transact([Write(key="a", value=b"2"), Write(key="b", value=b"2")])
        assert [item and item.value for item in await store.get(["a", "b"])] == [b"1", None]
        await store.transact([Write(key="a", value=b"3")])
        await store.change(Remove(key="a"))
        assert await store.get(["a"]) == [None]

    on(nats, store_on(nats, bucket), body, prepare)


@pytest.mark.broker
def test_what_is_too_large(nats: Nats) -> None:
    async def body(_: Components, store: StateStore, js: Any) -> None:
        with pytest.raises(TooMuch):
            await store.change(Write(key="a", value=b"x" * (js._nc.max_payload + 1)))
        with pytest.raises(TooMuch, match="1000 keys at most, not 1001"):
            await store.transact([Write(key=f"k{n}", value=b"") for n in range(1001)])
        await store.transact([Write(key=f"k{n}", value=b"1") for n in range(1000)])
        assert await store.get(["k1000"]) == [None]
        assert all(await store.get([f"k{n}" for n in range(1000)]))

    on(nats, store_on(nats, name()), body)


@pytest.mark.broker
@pytest.mark.parametrize("type_", ["state.jetstream", "state.in-memory"])
def test_a_server_that_goes_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, type_: str) -> None:
    monkeypatch.setattr(jetstream_bucket, "READY_WITHIN", 0.05)
    server = start_nats(tmp_path, "os")

    async def body(here: Components, store: StateStore, _: Any) -> None:
        await store.change(Write(key="k", value=b"1"))
        (before,) = await store.get(["k"])
        assert before is not None
        await asyncio.to_thread(server.kill)
        with pytest.raises(ComponentFailed):
            await store.get(["k"])
        await until(lambda: not here.readings()[0].connected)
        await asyncio.to_thread(server.start)
        await until(lambda: here.readings()[0].connected, 20)
        if type_ == "state.in-memory":
            assert await store.get(["k"]) == [None]
            with pytest.raises(EtagMismatch):
                await store.change(Write(key="k", value=b"2", etag=before.etag))
            await store.change(Write(key="k", value=b"2"))
        else:
            assert await store.get(["k"]) == [before]
            await store.change(Write(key="k", value=b"2", etag=before.etag))

    async def main() -> None:
        async with opened(component("store", type_), platform=platform_on(server)) as here:
            await body(here, here.state(app(), "store"), None)

    try:
        asyncio.run(main())
    finally:
        server.stop()


@pytest.mark.broker
def test_buckets_of_the_platforms_own_server_have_their_own_names(nats: Nats) -> None:
    """A component that names a bucket of the platform's gets another one."""

    async def body(_: Components, store: StateStore, js: Any) -> None:
        await store.change(Write(key="k", value=b"mine"))
        kept = await js.key_value("dapr_default__evk-state")
        assert await kept.keys() == ["orders.k"]

    declared = component("store", "state.jetstream", {"bucket": "evk-state"})
    on(nats, declared, body, platform=platform_on(nats))


def test_a_platform_without_a_server() -> None:
    async def main() -> None:
        async with opened(component("store", "state.jetstream")) as here:
            with pytest.raises(ComponentFailed, match="natsURL is missing, and this platform has no NATS server"):
                await here.state(app(), "store").get(["k"])

    asyncio.run(main())


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_keys_never_meet(one: str, other: str) -> None:
    def clean(text: str) -> str:
        return text.encode("utf-8", "replace").decode()

    one, other = clean(one), clean(other)
    assert (token(f"app||{one}") == token(f"app||{other}")) == (one == other) or "||" in one + other
    assert token("a.b||c") != token("a||b.c")


@given(*[st.from_regex(r"[a-z0-9][a-z0-9._/-]{0,5}", fullmatch=True)] * 4)
def test_buckets_never_meet(space: str, name: str, other_space: str, other: str) -> None:
    made = [
        own_bucket(Component(key=Key(*key), type="state.jetstream", version="v1"))
        for key in ((space, name), (other_space, other))
    ]
    assert (made[0] == made[1]) == ((space, name) == (other_space, other))


@pytest.mark.broker
def test_state_in_memory_is_one_for_all_proxies(nats: Nats) -> None:
    async def main() -> None:
        declared, platform = component(name(), "state.in-memory"), platform_on(nats)
        async with opened(declared, platform=platform) as one, opened(declared, platform=platform) as two:
            here, there = one.state(app(), declared.name), two.state(app(), declared.name)
            await here.change(Write(key="k", value=b"1"))
            (item,) = await there.get(["k"])
            assert item is not None
            await there.change(Write(key="k", value=b"2", etag=item.etag))
            with pytest.raises(EtagMismatch):
                await here.change(Write(key="k", value=b"3", etag=item.etag))

    asyncio.run(main())
