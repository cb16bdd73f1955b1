"""Secrets of store components, as connections of buses ask for them."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from api.errors import NotFound
from api.meta import Key, SecretKeyRef
from api.model import Component, Option
from proxy.components import stored_secrets
from proxy.components.components import Components
from proxy.components.stored_secrets import StoredSecrets
from proxy.components.surroundings import Surroundings

REFERENCE = SecretKeyRef(name="redis", key="redis", store="vault")


def platform(namespace: str, option: Option) -> str:
    return option if isinstance(option, str) else f"{namespace}/{option.name}"


async def until(secrets: StoredSecrets, wanted: str) -> None:
    """Ask until the answer, or the complaint, contains *wanted*."""
    async with asyncio.timeout(10):
        while True:
            try:
                said = secrets.resolve("team", REFERENCE)
            except NotFound as error:
                said = str(error)
            if wanted in said:
                return
            await asyncio.sleep(0.01)


def test_a_store_is_asked_and_asked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stored_secrets, "FRESH", 0.0)
    monkeypatch.setattr(stored_secrets, "AGAIN", 0.0)
    file = tmp_path / "secrets.json"
    file.write_text(json.dumps({"other": "x"}))
    store = Component(
        key=Key("team", "vault"),
        type="secretstores.local.file",
        version="v1",
        metadata={"secretsFile": str(file)},
        init_timeout=timedelta(seconds=5),
    )

    async def run() -> None:
        components = Components(Surroundings())
        secrets = StoredSecrets(platform, components)
        assert secrets.resolve("team", "plain") == "plain"
        assert secrets.resolve("team", SecretKeyRef(name="a", key="b")) == "team/a"
        with pytest.raises(NotFound, match="secret store vault has not answered yet"):
            secrets.resolve("team", REFERENCE)
        await until(secrets, "there is no secret store vault in namespace team")

        components.declare([store])
        await until(secrets, "secret redis not found")
        file.write_text(json.dumps({"redis": "first"}))
        await until(secrets, "first")
        file.write_text(json.dumps({"redis": "second"}))
        await until(secrets, "second")

        file.unlink()
        await asyncio.sleep(0)
        assert secrets.resolve("team", REFERENCE) == "second"
        with pytest.raises(NotFound, match="has no key b"):
            secrets.resolve("team", SecretKeyRef(name="redis", key="b", store="vault"))
        await components.close()

    asyncio.run(run())
