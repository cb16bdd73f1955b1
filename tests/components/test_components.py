"""Components by name: whose they are, who may use them, what waits for what, and how secrets come and change."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from api.errors import NotFound
from api.meta import Key, SecretKeyRef
from api.model import Option
from proxy.components import link
from proxy.components.protocols import (
    ComponentFailed,
    ComponentMissing,
    MetadataIllegal,
    ScopeDenied,
    SecretMissing,
    Unsupported,
    Write,
)
from tests.components.world import app, component, opened, until


def test_own_component_first() -> None:
    async def main() -> None:
        shared, own = component("store", "state.in-memory"), component("orders/store", "state.in-memory")
        async with opened(shared, own) as here:
            await here.state(app("orders"), "store").change(Write(key="k", value=b"own"))
            await here.state(app("bills"), "store").change(Write(key="k", value=b"shared"))
            here.declare([shared])
            assert await here.state(app("orders"), "store").get(["k"]) == [None]
            (item,) = await here.state(app("bills"), "store").get(["k"])
            assert item is not None
            assert item.value == b"shared"
            with pytest.raises(ComponentMissing, match="state store orders/store is not found; there is store"):
                here.state(app("bills"), "orders/store")

    asyncio.run(main())


def test_scopes_kinds_and_namespaces() -> None:
    async def main() -> None:
        async with opened(component("store", "state.in-memory", scopes=("orders", "bills-default"))) as here:
            here.state(app("orders"), "store")
            here.state(app("bills"), "store")
            with pytest.raises(ScopeDenied, match="app id carts is not in the scopes of component store"):
                here.state(app("carts"), "store")
            with pytest.raises(ComponentMissing) as missing:
                here.secrets(app("orders"), "store")
            assert missing.value.known == ()
            with pytest.raises(ComponentMissing):
                here.state(app("orders", key=Key("other", "orders")), "store")

    asyncio.run(main())


def test_what_there_is_instead_can_be_asked() -> None:
    async def main() -> None:
        cron = component("cron", "bindings.cron", {"schedule": "@every 1h"})
        async with opened(cron, component("disk", "bindings.localstorage", {"rootPath": "/tmp"})) as here:
            with pytest.raises(ComponentMissing) as missing:
                here.binding(app("orders"), "sqldb")
            assert missing.value.known == ("disk",)

    asyncio.run(main())


def test_a_type_that_is_unknown_says_which_there_are() -> None:
    async def main() -> None:
        async with opened(component("store", "state.rediss")) as here:
            with pytest.raises(ComponentFailed, match=r"E128 spec.type: there is no component type `state.rediss`"):
                here.state(app(), "store")

    asyncio.run(main())


def test_opening_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RETRY", (0.01,))
    path = tmp_path / "secrets.json"

    async def main() -> None:
        async with opened(component("vault", "secretstores.local.file", {"secretsFile": str(path)})) as here:
            store = here.secrets(app(), "vault")
            with pytest.raises(ComponentFailed, match=r"secrets.json cannot be read: No such file"):
                await store.secret("a", {})
            (reading,) = here.readings()
            assert (reading.connected, reading.reason) == (False, "Missing")
            path.write_text('{"a": "1"}')
            await until(lambda: here.readings()[0].connected)
            assert await here.secrets(app(), "vault").secret("a", {}) == {"a": "1"}

    asyncio.run(main())


def test_bad_metadata_is_told_and_tried_no_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        async with opened(component("store", "state.redis", {})) as here:
            with pytest.raises(ComponentFailed, match=r"spec.metadata\[redisHost\]: it is missing"):
                await here.state(app(), "store").get(["k"])

    asyncio.run(main())


def test_secrets_of_the_platform_and_of_a_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "RETRY", (0.01,))
    path = tmp_path / "secrets.json"
    path.write_text(json.dumps({"prefix": "from-store"}))
    known = {"where": {"prefix": "from-platform"}}

    def resolve(namespace: str, option: Option) -> str:
        assert namespace == "default"
        if isinstance(option, str):
            return option
        if option.name not in known:
            raise NotFound(f"secret {option.name} is not there")
        return known[option.name][option.key]

    reference = SecretKeyRef(name="where", key="prefix")
    stored = SecretKeyRef(name="prefix", key="prefix")

    async def main() -> None:
        async with opened(
            component("platform", "state.in-memory", {"keyPrefix": reference}),
            component("builtin", "state.in-memory", {"keyPrefix": reference}, secret_store="kubernetes"),
            component("stored", "state.in-memory", {"keyPrefix": stored}, secret_store="vault"),
            component("lost", "state.in-memory", {"keyPrefix": SecretKeyRef(name="no", key="x")}),
            component("nowhere", "state.in-memory", {"keyPrefix": stored}, secret_store="none"),
            component("vault", "secretstores.local.file", {"secretsFile": str(path)}),
            resolve=resolve,
        ) as here:
            for name in ("platform", "builtin", "stored"):
                await here.state(app(), name).get(["k"])
            for name, message in (("lost", "secret no is not there"), ("nowhere", "there is no secret store none")):
                with pytest.raises(ComponentFailed, match=message) as failed:
                    await here.state(app(), name).get(["k"])
                assert failed.value.reason == "SecretNotFound"
            known["no"] = {"x": "y"}
            await until(lambda: sum(one.connected for one in here.readings()) == 5)

    asyncio.run(main())


def test_a_secret_that_changes_opens_anew_beside_what_is_there() -> None:
    values = {"prefix": "one"}

    def resolve(_namespace: str, option: Option) -> str:
        if isinstance(option, str):
            return option
        if not values:
            raise NotFound("it went")
        return values[option.key]

    async def main() -> None:
        declared = component("store", "state.in-memory", {"keyPrefix": SecretKeyRef(name="s", key="prefix")})
        async with opened(declared, resolve=resolve) as here:
            state = here.state(app(), "store")
            await state.change(Write(key="k", value=b"1"))
            kept = here._links[declared.key]._instance
            values.clear()
            here.rotate()
            await until(lambda: not here._links[declared.key]._look.is_set())
            assert here._links[declared.key]._instance is kept, "a secret that cannot be read changes nothing"
            values["prefix"] = "two"
            here.rotate()
            await until(lambda: here._links[declared.key]._instance is not kept)
            assert await state.get(["k"]) == [None]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {"a": {"a": "1"}, "b:c": {"b:c": "2"}, "b:d:0": {"b:d:0": "3"}, "n": {"n": "4"}}),
        ({"nestedSeparator": "/"}, {"a": {"a": "1"}, "b/c": {"b/c": "2"}, "b/d/0": {"b/d/0": "3"}, "n": {"n": "4"}}),
        ({"multiValued": "true"}, {"a": {"a": "1"}, "b": {"c": "2", "d:0": "3"}, "n": {"n": "4"}}),
    ],
)
def test_secrets_of_a_file(tmp_path: Path, options: dict[str, str], wanted: dict[str, dict[str, str]]) -> None:
    path = tmp_path / "secrets.json"
    path.write_text('{"a": "1", "b": {"c": "2", "d": ["3"]}, "n": 4}')

    async def main() -> None:
        declared = component("vault", "secretstores.local.file", {"secretsFile": str(path), **options})
        async with opened(declared) as here:
            store = here.secrets(app(), "vault")
            assert await store.secrets({}) == wanted
            for name, pairs in wanted.items():
                assert await store.secret(name, {}) == pairs
            with pytest.raises(SecretMissing):
                await store.secret("z", {})

    asyncio.run(main())


@pytest.mark.parametrize("text", ['{"a": "hunter2"', '["hunter2"]', "hunter2"])
def test_a_broken_file_is_not_shown(tmp_path: Path, text: str) -> None:
    path = tmp_path / "secrets.json"
    path.write_text(text)

    async def main() -> None:
        async with opened(component("vault", "secretstores.local.file", {"secretsFile": str(path)})) as here:
            with pytest.raises(ComponentFailed) as failed:
                await here.secrets(app(), "vault").secret("a", {})
            assert "hunter2" not in str(failed.value)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        ({}, {}),
        ({"prefix": "SHOP_"}, {"TOKEN": "1"}),
        ({"allowed": "HOME,DAPR_API_TOKEN"}, {"HOME": "/h"}),
        ({"prefix": "EVOKE"}, {}),
        ({"prefix": "A"}, {}),
    ],
)
def test_the_environment_stays_hidden(options: dict[str, str], wanted: dict[str, str]) -> None:
    environment = {
        "SHOP_TOKEN": "1",
        "SHOP_": "?",
        "HOME": "/h",
        "DAPR_API_TOKEN": "t",
        "EVOKE_STATE": "s",
        "APP_API_TOKEN": "u",
    }

    async def main() -> None:
        declared = component("env", "secretstores.local.env", dict(options))
        async with opened(declared, environment=environment) as here:
            store = here.secrets(app(), "env")
            assert await store.secrets({}) == {name: {name: value} for name, value in wanted.items()}
            for hidden in ("DAPR_API_TOKEN", "EVOKE_STATE", "APP_API_TOKEN", "PI_TOKEN"):
                with pytest.raises(SecretMissing):
                    await store.secret(hidden, {})

    asyncio.run(main())


def test_the_environment_of_ones_own_proxy() -> None:
    environment = {"HOME": "/h", "DAPR_API_TOKEN": "t", "EVOKE_STATE": "s", "APP_API_TOKEN": "u"}

    async def main() -> None:
        declared = component("env", "secretstores.local.env")
        async with opened(declared, environment=environment, shared=False) as here:
            assert await here.secrets(app(), "env").secrets({}) == {"HOME": {"HOME": "/h"}}

    asyncio.run(main())


def test_secrets_of_the_namespace_and_no_other() -> None:
    kept = {"default": {"db": {"user": "me", "password": "x"}}, "other": {"db": {"user": "you"}}}

    async def main() -> None:
        declared = component("kubernetes", "secretstores.kubernetes")
        async with opened(declared, keeper=lambda namespace: kept[namespace]) as here:
            store = here.secrets(app(), "kubernetes")
            assert await store.secret("db", {"namespace": "default"}) == {"user": "me", "password": "x"}
            assert await store.secrets({}) == kept["default"]
            with pytest.raises(MetadataIllegal, match="Secrets of namespace other are not for apps of default"):
                await store.secret("db", {"Namespace": "other"})
            with pytest.raises(SecretMissing):
                await store.secret("nothing", {})

    asyncio.run(main())


@pytest.mark.parametrize(
    ("type_", "metadata", "made"),
    [
        ("state.sqlite", {"connectionString": "made"}, "made"),
        ("state.sqlite", {"connectionString": "file:made?cache=shared"}, "made"),
        ("bindings.localstorage", {"rootPath": "made/deeper"}, "made/deeper"),
        ("secretstores.local.file", {"secretsFile": "kept.json"}, "kept.json"),
    ],
)
def test_paths_begin_in_the_projects_folder(tmp_path: Path, type_: str, metadata: dict[str, str], made: str) -> None:
    (tmp_path / "kept.json").write_text("{}")

    async def main() -> None:
        async with opened(component("one", type_, {**metadata}), folder=tmp_path) as here:
            await until(lambda: here.readings()[0].connected)
            assert (tmp_path / made).exists()

    asyncio.run(main())


def test_a_store_that_asks_for_an_outbox_refuses_transactions_alone() -> None:
    """A transaction that published nothing would be worse than none."""

    async def main() -> None:
        async with opened(component("store", "state.in-memory", {"outboxPublishTopic": "orders"})) as here:
            store = here.state(app(), "store")
            await store.change(Write(key="k", value=b"1"))
            with pytest.raises(Unsupported, match="publish after the transaction"):
                await store.transact([Write(key="k", value=b"2")])
            (item,) = await store.get(["k"])
            assert item is not None
            assert item.value == b"1"

    asyncio.run(main())
