"""The same calls to a real daprd and to us: bindings, secrets and configuration answer alike."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from redis import Redis as Client

from proxy.components.components import Components
from proxy.components.protocols import ComponentError, SecretMissing
from tests.components.site import Asked, Reply, site
from tests.components.world import app, opened
from tests.components.world import component as ours
from tests.daprd.sidecar import Daprd, component, program
from tests.redis import start_redis

pytestmark = pytest.mark.broker


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def beside(stack: ExitStack, directory: Path, *declared: tuple[str, str, dict[str, str]]) -> Daprd:
    """A daprd with components (name, type, metadata)."""
    program()
    (directory / "daprd").mkdir()
    resources = [component(type_, metadata, name) for name, type_, metadata in declared]
    sidecar = Daprd(directory / "daprd", "orders", resources)
    sidecar.start()
    stack.callback(sidecar.stop)
    return sidecar


def invoke(daprd: Daprd, name: str, operation: str, data: Any = None, **metadata: str) -> tuple[int, bytes]:
    asked = {"operation": operation, "metadata": metadata} | ({"data": data} if data is not None else {})
    return daprd.request("POST", f"/v1.0/bindings/{name}", json.dumps(asked).encode())


def compact(data: Any) -> bytes:
    """JSON as daprd hands it to a binding."""
    return json.dumps(data, separators=(",", ":")).encode()


async def here(components: Components, name: str, operation: str, data: bytes = b"", **metadata: str) -> bytes | None:
    """None: refused."""
    try:
        return (await components.binding(app("orders"), name).invoke(operation, data, metadata)).data
    except ComponentError:
        return None


def test_files(stack: ExitStack, tmp_path: Path) -> None:
    declared = {name: {"rootPath": str(tmp_path / name)} for name in ("theirs", "own")}
    daprd = beside(stack, tmp_path, ("theirs", "bindings.localstorage", declared["theirs"]))

    async def main() -> None:
        async with opened(ours("own", "bindings.localstorage", {**declared["own"]})) as components:
            for number, data in enumerate(["a text", "AP8=", "test", {"n": 1}, 7, 'in "quotes"']):
                name = f"in/{number}.txt"
                status, answer = invoke(daprd, "theirs", "create", data, fileName=name)
                mine = await here(components, "own", "create", compact(data), fileName=name)
                assert (status, json.loads(answer)) == (200, json.loads(mine or b""))
                assert (tmp_path / "theirs" / name).read_bytes() == (tmp_path / "own" / name).read_bytes()
                assert invoke(daprd, "theirs", "get", fileName=name)[1] == await here(
                    components, "own", "get", fileName=name
                )
            listed = json.loads(invoke(daprd, "theirs", "list", fileName="in")[1])
            mine = await here(components, "own", "list", fileName="in")
            assert [path.replace("/theirs/", "/own/") for path in listed] == json.loads(mine or b"")
            for operation, name in (("get", "none"), ("delete", "none"), ("copy", "in/0.txt")):
                assert invoke(daprd, "theirs", operation, fileName=name)[0] == 500
                assert await here(components, "own", operation, fileName=name) is None

    asyncio.run(main())


def test_keys_of_redis(stack: ExitStack, tmp_path: Path) -> None:
    server = start_redis(tmp_path / "redis")
    stack.callback(server.stop)
    metadata = {"redisHost": server.host, "redisPassword": ""}
    daprd = beside(stack, tmp_path, ("cache", "bindings.redis", metadata), ("config", "configuration.redis", metadata))
    client = stack.enter_context(Client(host="127.0.0.1", port=server.port))

    async def main() -> None:
        async with opened(
            ours("cache", "bindings.redis", {**metadata}), ours("config", "configuration.redis", {**metadata})
        ) as components:
            for name, data in (("text", "a text"), ("object", {"n": 1}), ("number", 7)):
                assert invoke(daprd, "cache", "create", data, key=f"t-{name}")[0] == 204
                await here(components, "cache", "create", compact(data), key=f"o-{name}")
                assert client.get(f"t-{name}") == client.get(f"o-{name}")
                status, answer = invoke(daprd, "cache", "get", key=f"t-{name}")
                assert (status, answer) == (200, await here(components, "cache", "get", key=f"o-{name}"))
            assert invoke(daprd, "cache", "get", key="none")[1] == await here(components, "cache", "get", key="none")
            assert invoke(daprd, "cache", "increment", key="n")[0] == 204
            await here(components, "cache", "increment", key="n")
            assert client.get("n") == b"2"
            assert invoke(daprd, "cache", "create", "x")[0] == 500
            assert await here(components, "cache", "create", b"x") is None

            client.mset({"plain": "1", "versioned": "2||v7"})
            asked = "/v1.0/configuration/config?key=plain&key=versioned&key=missing"
            answer = json.loads(daprd.request("GET", asked)[1])
            store = components.configuration(app("orders"), "config")
            found = await store.get(["plain", "versioned", "missing"], {})
            assert {key: item["value"] for key, item in answer.items()} == {
                key: one.value for key, one in found.items()
            }
            assert {key: item.get("version", "") for key, item in answer.items()} == {
                key: one.version for key, one in found.items()
            }

    asyncio.run(main())


@pytest.mark.parametrize("options", [{}, {"nestedSeparator": "/"}, {"multiValued": "true"}], ids=str)
def test_secrets(stack: ExitStack, tmp_path: Path, options: dict[str, str]) -> None:
    path = tmp_path / "secrets.json"
    path.write_text('{"a": "1", "b": {"c": "2", "d": {"e": "3"}}}')
    file = {"secretsFile": str(path), **options}
    os.environ["SHOP_TOKEN"] = "sesame"
    stack.callback(os.environ.pop, "SHOP_TOKEN")
    daprd = beside(
        stack,
        tmp_path,
        ("vault", "secretstores.local.file", file),
        ("env", "secretstores.local.env", {"prefix": "SHOP_"}),
    )

    async def main() -> None:
        async with opened(
            ours("vault", "secretstores.local.file", {**file}),
            ours("env", "secretstores.local.env", {"prefix": "SHOP_"}),
        ) as components:
            for name in ("vault", "env"):
                store = components.secrets(app("orders"), name)
                everything = json.loads(daprd.request("GET", f"/v1.0/secrets/{name}/bulk")[1])
                assert await store.secrets({}) == everything
                for secret in everything:
                    if "/" in secret:
                        continue
                    status, answer = daprd.request("GET", f"/v1.0/secrets/{name}/{secret}")
                    assert (status, json.loads(answer)) == (200, await store.secret(secret, {}))
                with pytest.raises(SecretMissing):
                    await store.secret("nothing", {})

    asyncio.run(main())


def test_requests(stack: ExitStack, tmp_path: Path) -> None:
    def handler(asked: Asked) -> Reply:
        return Reply(int(asked.target[-3:]), (("x-seen", "a"),), b"said " + asked.verb.encode())

    async def main() -> None:
        async with site(handler) as there:
            metadata = {
                "url": f"http://127.0.0.1:{there.port}/base",
                "securityToken": "t",
                "securityTokenHeader": "X-Token",
            }
            daprd = await asyncio.to_thread(beside, stack, tmp_path, ("web", "bindings.http", metadata))
            async with opened(ours("web", "bindings.http", {**metadata})) as components:
                for operation in ("create", "get", "head", "post", "put", "patch", "delete", "options"):
                    for status in ("200", "404"):
                        said = {"path": f"/a/{status}", "X-Own": "1", "small": "2"}
                        theirs = await asyncio.to_thread(lambda: invoke(daprd, "web", operation, {"n": 1}, **said))  # noqa: B023 - awaited here
                        mine = await here(components, "web", operation, b'{"n":1}', **said)
                        assert (theirs[0] == 500) == (mine is None)
                        if mine is not None:
                            assert theirs[1] == mine
                        one, two = there.asked[-2:]
                        assert (one.verb, one.target, one.body) == (two.verb, two.target, two.body)
                        known = ("x-own", "x-token", "content-type", "accept", "small")
                        assert [one.headers.get(name) for name in known] == [two.headers.get(name) for name in known]

    asyncio.run(main())
