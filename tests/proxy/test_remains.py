"""Nothing stays on the bus of a subscription that is gone, whenever it went."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from api.model import Subscription
from eventbus.subjects import member_of, topic
from tests.brokers import Nats, start_nats
from tests.proxy.plant import until
from tests.proxy.test_main import Controller, controller, owned
from tests.sources.nats_world import Outsider, outsider

pytestmark = pytest.mark.broker

Scenario = Callable[[Controller, Outsider], Awaitable[None]]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("nats"))
    yield server
    server.stop()


def play(nats: Nats, namespace: str, scenario: Scenario) -> None:
    async def whole() -> None:
        options = {"url": f"nats://{nats.settings.nats}", "user": nats.user, "password": nats.password}
        with tempfile.TemporaryDirectory(prefix="evk") as directory:
            async with controller(Path(directory), nats, namespace) as made, outsider(options) as client:
                await scenario(made, client)

    asyncio.run(whole())


async def left(client: Outsider, one: Subscription) -> list[str]:
    """Consumers, and keys of the buckets, that belong to a subscription."""
    where = topic(one.bus, one.subject)
    found = [name for name in await client.consumers(where.stream) if name.startswith(member_of(one))]
    for bucket in ("evk-owner", "evk-window"):
        stored = await client.js.last(f"KV_{bucket}", f"$KV.{bucket}.{where.bus}.{where.topic}.{member_of(one)}")
        found += [bucket] if stored and stored.data else []
    return found


async def gone(client: Outsider, one: Subscription) -> None:
    async with asyncio.timeout(10):
        while await left(client, one):  # noqa: ASYNC110  # the broker tells nobody
            await asyncio.sleep(0.01)


def test_what_was_removed_while_the_proxy_was_away(nats: Nats) -> None:
    async def scenario(made: Controller, client: Outsider) -> None:
        kept, removed = owned(made, group="kept"), owned(made, group="removed")
        made.declare(removed)
        await made.settled()
        assert len(await left(client, removed)) >= 2
        await made.stop_proxy()
        made.declare(kept)
        await made.start_proxy()
        await made.settled()
        await gone(client, removed)
        assert await left(client, kept)

    play(nats, "away", scenario)


def test_what_moved_to_another_subject(nats: Nats) -> None:
    async def scenario(made: Controller, client: Outsider) -> None:
        before, after = owned(made, subject="before"), owned(made, subject="after")
        made.declare(before)
        await made.settled()
        made.declare(after)
        await gone(client, before)
        await until(lambda: made.reading and not made.reading.blind)
        assert await left(client, after)

    play(nats, "moved", scenario)


def test_what_only_changed_its_delivery_keeps_its_progress(nats: Nats) -> None:
    async def scenario(made: Controller, client: Outsider) -> None:
        one = owned(made)
        made.declare(one)
        await made.settled()
        made.declare(owned(made, in_flight=7))
        await made.settled()
        await made.stop_proxy()
        await made.start_proxy()
        await made.settled()
        assert await left(client, one)

    play(nats, "changed", scenario)


def test_what_was_removed_while_the_broker_was_away(nats: Nats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.remains.AGAIN", 0.2)

    async def scenario(made: Controller, client: Outsider) -> None:
        one = owned(made)
        made.declare(one)
        await made.settled()
        nats.kill()
        made.declare()
        await until(lambda: made.reading is None)
        nats.start()
        await gone(client, one)

    play(nats, "broker", scenario)
