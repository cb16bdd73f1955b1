"""Event sources whose broker is away or something else: each kind says which, and the others work on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.platform import LOOPBACK, spare
from tests.bad_input.buses import CODE, function, manifest
from tests.platform import Platform, until

pytestmark = pytest.mark.platform

SECRET = {"secretRef": {"name": "none", "key": "k"}}


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    shell = Platform(tmp_path_factory.mktemp("sources") / "project")
    shell.project.mkdir()
    (shell.project / "main.py").write_text(CODE)
    manifest(shell.project / "evoke.yaml", function("keep", "default", "work"))
    shell.up()
    try:
        yield shell
    finally:
        shell.down()


def source(name: str, kind: str, **options: object) -> dict[str, Any]:
    return {
        "apiVersion": "events.openfunction.io/v1alpha1",
        "kind": "EventSource",
        "metadata": {"name": name},
        "spec": {kind: {"event": options}},
    }


def at(kind: str, host: str, port: int) -> dict[str, Any]:
    """Options of a source of *kind* whose broker is there."""
    return {
        "mqtt": {"url": f"mqtt://{host}:{port}", "topic": "t"},
        "nats": {"url": f"nats://{host}:{port}", "subject": "t"},
        "kafka": {"brokers": f"{host}:{port}", "topic": "t"},
        "redis": {"redisHost": f"{host}:{port}", "stream": "t"},
    }[kind]


@pytest.mark.parametrize("kind", ["mqtt", "nats", "kafka", "redis"])
def test_every_trouble_of_a_source_has_its_reason(platform: Platform, kind: str, tmp_path: Path) -> None:
    _, _, other = platform.platform()["mqtt" if kind == "nats" else "nats"].rpartition(":")
    good = at(kind, LOOPBACK, spare())
    password = {"kafka": "saslPasswordFrom", "redis": "redisPasswordFrom"}.get(kind, "passwordFrom")
    sources = {
        "ConnectionRefused": source(f"{kind}-refused", kind, **good),
        "HostUnknown": source(f"{kind}-unknown", kind, **at(kind, "nowhere.invalid", 1)),
        "NotABroker": source(f"{kind}-other", kind, **at(kind, LOOPBACK, int(other))),
        "SecretNotFound": source(f"{kind}-secret", kind, **{**good, password: SECRET}),
    }
    file = manifest(tmp_path / "sources.yaml", *sources.values())
    platform.evoke("apply", "-f", str(file))

    for reason, declared in sources.items():
        name = declared["metadata"]["name"]
        seen: list[str] = []

        def told(name: str = name, reason: str = reason, seen: list[str] = seen) -> bool:
            status = platform.request("GET", f"/v1/resources/eventsource/default/{name}").get("status", {})
            seen[:] = [json.dumps(one) for one in status.get("conditions", []) if one["type"] == "Connected"]
            return any(f'"reason": "{reason}"' in one for one in seen)

        try:
            until(told, what=f"{name} with {reason}", deadline=30)
        except AssertionError as error:
            raise AssertionError(f"{error}; {seen}") from None
        assert platform.evoke("describe", "eventsource", name).stdout.startswith(f"Ready False {reason}: ")
    platform.evoke("delete", "-f", str(file), "--yes")
    platform.evoke("publish", "work", "-d", f'"{kind}"')
    until(lambda: f"kept {kind}" in platform.evoke("logs", "keep").stdout, what="the event handled")
