"""Configuration over HTTP on a real Redis: read, changes posted to every replica, the end of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.proxy.dapr_http.site import PLATFORM, SHOP, STORE, AppServer, Site, component, until
from tests.redis import Redis, start_redis

pytestmark = pytest.mark.broker


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    started = start_redis(tmp_path_factory.mktemp("redis"))
    yield started
    started.stop()


def test_configuration(tmp_path: Path, server: Redis) -> None:
    settings = component("configuration.redis", "settings", {"redisHost": server.host})

    async def scenario() -> None:
        async with Site(tmp_path, components=(settings,)) as site:
            client = redis.Redis(host="127.0.0.1", port=server.port)
            client.set("color", "blue||1")
            client.set("size", "9")
            path = "/v1.0/configuration/settings"
            told = (await site.call("GET", f"{path}?key=color&key=size")).json
            assert (told["color"]["value"], told["color"]["version"], told["size"]["value"]) == ("blue", "1", "9")
            assert (await site.call("GET", f"{path}?key=none")).status == 204
            assert (await site.call("GET", "/v1.0-alpha1/configuration/none")).code == (
                400, "ERR_CONFIGURATION_STORE_NOT_FOUND",
            )  # fmt: skip

            one, two = await AppServer().start(), await AppServer().start()
            site._servers += [one, two]
            site.replicas(SHOP, one, two)
            id_ = (await site.call("GET", f"{path}/subscribe?key=color")).json["id"]
            assert (await site.call("GET", f"{path}/subscribe?key=color")).json["id"] == id_
            await changed(client, (one, two))
            (posted, *_) = one.seen
            assert (posted.method, posted.target) == ("POST", "/configuration/settings/color")
            body = json.loads(posted.body)
            assert (body["id"], body["items"]["color"]["value"]) == (id_, "red")

            other = await site.call("GET", f"{path}/{id_}/unsubscribe", token=PLATFORM.token(STORE))
            assert (other.status, "does not exist" in other.json["message"]) == (500, True)
            for _ in range(2):
                assert (await site.call("GET", f"{path}/{id_}/unsubscribe")).json == {"ok": True}
            assert (await site.call("GET", f"{path}/{id_}/unsubscribe")).status == 500
            await until(lambda: not site.runtime._posts._subscriptions)
            client.close()

    asyncio.run(scenario())


async def changed(client: Any, servers: tuple[AppServer, ...]) -> None:
    """Change the color until every replica heard of it: a watch begins a moment after its id was told."""
    async with asyncio.timeout(15):
        for number in range(1000):
            client.set("color", f"red||{number}")
            if all(one.seen for one in servers):
                return
            await asyncio.sleep(0.05)
