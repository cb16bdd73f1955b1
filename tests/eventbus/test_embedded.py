"""The embedded broker: pinned binary, private configuration, two accounts that do not see each other."""

from __future__ import annotations

import asyncio
import json
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest

from eventbus import embedded
from eventbus.errors import AuthFailed, Unreachable
from tests.brokers import Nats, start_nats


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    nats = start_nats(tmp_path_factory.mktemp("embedded"))
    yield nats
    nats.stop()


def test_binary_is_the_pinned_one(tmp_path: Path) -> None:
    embedded.check(embedded.binary(), tmp_path / "checked")

    assert embedded.SHA256[("Linux", "x86_64")] == embedded._recorded()


def test_another_binary_is_refused(tmp_path: Path) -> None:
    other = tmp_path / "nats-server"
    other.write_bytes(b"#!/bin/sh\n")

    with pytest.raises(embedded.BrokerBinary, match="sha256"):
        embedded.check(other, tmp_path / "checked")


def test_second_check_reads_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embedded.check(embedded.binary(), tmp_path / "checked")
    monkeypatch.setattr(embedded.hashlib, "file_digest", None)

    embedded.check(embedded.binary(), tmp_path / "checked")


def test_configuration_is_private_and_on_the_loopback(tmp_path: Path) -> None:
    settings = embedded.Settings(
        store=tmp_path / "nats", nats="127.0.0.1:1", mqtt="127.0.0.1:2", user="u", password='p"q\\', durability="os"
    )
    embedded.write_config(tmp_path / "nats.conf", settings)
    text = (tmp_path / "nats.conf").read_text()

    assert stat.S_IMODE((tmp_path / "nats.conf").stat().st_mode) == 0o600
    assert json.dumps('p"q\\') in text
    assert 'sync_interval: "2m"' in text
    assert "sync_interval: always" in embedded.config(msgspec.structs.replace(settings, durability="sync"))
    assert "http" not in text


def test_a_wrong_password_is_refused_at_once(server: Nats) -> None:
    settings = msgspec.structs.replace(server.settings, password="guess")

    with pytest.raises(AuthFailed):
        asyncio.run(embedded.wait_ready(settings))


@pytest.mark.parametrize("login", [{}, {"user": "guest", "pass": ""}])
def test_a_guest_cannot_speak_nats(server: Nats, login: dict[str, str]) -> None:
    async def try_it() -> bytes:
        host, _, port = server.settings.nats.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(f"CONNECT {json.dumps(login)}\r\nPING\r\n".encode())
        await reader.readline()
        line = await reader.readline()
        writer.close()
        return line

    assert b"Authorization Violation" in asyncio.run(try_it())


def test_what_never_comes_up_is_reported_within_the_limit(server: Nats) -> None:
    settings = msgspec.structs.replace(server.settings, nats="127.0.0.1:1")
    began = time.monotonic()

    with pytest.raises(Unreachable, match="did not come up"):
        asyncio.run(embedded.wait_ready(settings, timedelta(seconds=0.2)))
    assert time.monotonic() - began < 2
