"""NATS servers that are away, refuse or are something else: each says which, and all is well once they are back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from api.platform import LOOPBACK, spare
from tests.bad_input.buses import CODE, bus, function, goes_on, is_told, manifest, reason_of, refused_publish
from tests.brokers import Nats, start_nats
from tests.platform import Platform

pytestmark = [pytest.mark.platform, pytest.mark.broker]


@pytest.fixture(scope="module")
def nats(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nats]:
    server = start_nats(tmp_path_factory.mktemp("theirs"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def platform(nats: Nats, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    shell = Platform(tmp_path_factory.mktemp("brokers") / "project")
    shell.project.mkdir()
    (shell.project / "main.py").write_text(CODE)
    secret = {"secretRef": {"name": "theirs", "key": "password"}}
    theirs = bus("theirs", "nats", url=nats.url, username=nats.user, passwordFrom=secret)
    manifest(shell.project / "evoke.yaml", theirs, function("keep", "theirs", "work"))
    shell.up()
    try:
        yield shell
    finally:
        shell.down()


def test_every_trouble_has_its_reason(platform: Platform, nats: Nats, tmp_path: Path) -> None:
    secret = {"secretRef": {"name": "none", "key": "k"}}
    buses = {
        "ConnectionRefused": bus("refused", "nats", url=f"nats://{LOOPBACK}:{spare()}"),
        "HostUnknown": bus("unknown", "nats", url="nats://nowhere.invalid:4222"),
        "NotABroker": bus("other", "nats", url=f"nats://{LOOPBACK}:{nats.mqtt_port}"),
        "AuthFailed": bus("password", "nats", url=nats.url, username=nats.user, password="wrong"),
        "SecretNotFound": bus("secret", "nats", url=nats.url, passwordFrom=secret),
        "TLSFailed": bus("tls", "nats", url=nats.url, tls=True),
    }
    file = manifest(tmp_path / "buses.yaml", *buses.values())
    platform.evoke("apply", "-f", str(file))

    for reason, declared in buses.items():
        is_told(platform, declared["metadata"]["name"], reason)
    platform.evoke("delete", "-f", str(file), "--yes")


def test_a_missing_secret_a_wrong_one_and_the_right_one(platform: Platform, nats: Nats) -> None:
    assert "theirs" in reason_of(platform, "theirs", "SecretNotFound")["message"]
    platform.evoke("secret", "set", "theirs", "password", text="wrong\n")
    reason_of(platform, "theirs", "AuthFailed")
    platform.evoke("secret", "set", "theirs", "password", text=nats.password + "\n")
    goes_on(platform, "theirs", "work", "keep", 1)


def test_a_broker_that_went_and_came_back(platform: Platform, nats: Nats) -> None:
    reason_of(platform, "theirs", "Connected")
    nats.stop()
    assert "nothing listens" in reason_of(platform, "theirs", "ConnectionRefused")["message"]
    refused_publish(platform, "theirs", "work")
    nats.start()
    goes_on(platform, "theirs", "work", "keep", 3)


def test_a_broker_that_stands_still_acknowledges_nothing(platform: Platform, nats: Nats) -> None:
    reason_of(platform, "theirs", "Connected")
    nats.freeze()
    try:
        refused_publish(platform, "theirs", "work")
        reason_of(platform, "theirs", "Unreachable")
    finally:
        nats.thaw()
    goes_on(platform, "theirs", "work", "keep", 4)
