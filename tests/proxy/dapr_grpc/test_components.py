"""Configuration on a real Redis and output bindings, through the unmodified SDK."""

from __future__ import annotations

import asyncio
import json
import queue
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
import redis
from dapr.clients import DaprClient

from tests.proxy.dapr_grpc.site import Site, component, until
from tests.redis import Redis, start_redis


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    started = start_redis(tmp_path_factory.mktemp("redis"))
    yield started
    started.stop()


@pytest.mark.broker
def test_configuration_is_read_watched_and_given_back(tmp_path: Path, server: Redis) -> None:
    settings = component("configuration.redis", "settings", {"redisHost": server.host})
    values = redis.Redis(host="127.0.0.1", port=server.port)

    def work() -> None:
        heard: queue.Queue[tuple[str, dict[str, str]]] = queue.Queue()

        def handle(id_: str, response: Any) -> None:
            heard.put((id_, {key: item.value for key, item in response.items.items()}))

        with DaprClient() as client:
            found = client.get_configuration("settings", ["color", "none"]).items
            assert {key: (item.value, item.version) for key, item in found.items()} == {"color": ("blue", "1")}
            id_ = client.subscribe_configuration("settings", ["color"], handle)
            assert id_
            for number in range(200):  # a watch begins a moment after its id was told
                values.set("color", f"red||{number}")
                time.sleep(0.05)
                if not heard.empty():
                    break
            assert heard.get(timeout=10) == (id_, {"color": "red"})
            assert client.unsubscribe_configuration("settings", id_)
            assert not client.unsubscribe_configuration("settings", id_)
            with pytest.raises(grpc.RpcError) as missing:
                client.get_configuration("nowhere", ["a"])
            error: Any = missing.value
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT

    async def scenario() -> None:
        values.set("color", "blue||1")
        async with Site(tmp_path, components=[settings]) as site:
            await site.sdk(work)
            await until(lambda: not site.runtime._configurations._watches)

    asyncio.run(scenario())
    values.close()


@pytest.mark.broker
def test_a_client_that_leaves_ends_its_watches(tmp_path: Path, server: Redis) -> None:
    settings = component("configuration.redis", "settings", {"redisHost": server.host})

    async def scenario() -> None:
        async with Site(tmp_path, components=[settings]) as site:

            def work() -> None:
                with DaprClient() as client:
                    assert client.subscribe_configuration("settings", ["color"], lambda *_: None)

            await site.sdk(work)
            await until(lambda: not site.runtime._configurations._watches)

    asyncio.run(scenario())


def test_the_metadata_of_an_answer_stands_in_that_of_the_call(tmp_path: Path) -> None:
    async def scenario() -> None:
        async def page(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 201 Created\r\nshelf: 7\r\ncontent-length: 2\r\n\r\nok")
            writer.close()

        server = await asyncio.start_server(page, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        web = component("bindings.http", "web", {"url": f"http://127.0.0.1:{port}"})

        def work() -> None:
            with DaprClient() as client:
                answer = client.invoke_binding("web", "get")
                assert (answer.data, answer.binding_metadata["statusCode"]) == (b"ok", "201")
                assert answer.headers["metadata.statuscode"] == ["201"]

        async with Site(tmp_path, components=[web]) as site:
            await site.sdk(work)
        server.close()

    asyncio.run(scenario())


def test_output_bindings(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    disk = component("bindings.localstorage", "disk", {"rootPath": str(files)})

    def work() -> None:
        with DaprClient() as client:
            client.invoke_binding("disk", "create", b"milk, bread", {"fileName": "list.txt"})
            assert client.invoke_binding("disk", "get", b"", {"fileName": "list.txt"}).data == b"milk, bread"
            assert json.loads(client.invoke_binding("disk", "list", b"{}").data)
            for name, operation, words in (
                ("disk", "fly", "supported operations:"),
                ("disk", "", "operation"),
                ("nowhere", "create", "error invoking output binding nowhere"),
            ):
                with pytest.raises(grpc.RpcError) as refused:
                    client.invoke_binding(name, operation, b"")
                error: Any = refused.value
                assert error.code() is grpc.StatusCode.INTERNAL
                assert words in error.details()

    async def scenario() -> None:
        async with Site(tmp_path, components=[disk]) as site:
            await site.sdk(work)

    asyncio.run(scenario())
    assert (files / "list.txt").read_bytes() == b"milk, bread"
