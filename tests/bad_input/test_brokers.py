"""Brokers that are away, refuse or are something else: each says which, and all is well once they are back."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api.platform import LOOPBACK, spare
from tests.brokers import Nats, start_nats
from tests.platform import Platform, until

pytestmark = [pytest.mark.platform, pytest.mark.broker]

PUBLISH_WITHIN = 15.0
"""Seconds: a publish has its answer after ten, and a command line starts meanwhile."""
BUS = """\
apiVersion: events.openfunction.io/v1alpha1
kind: EventBus
metadata: {name: %s}
spec: {nats: %s}
---
"""
FUNCTION = """\
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {name: keep}
spec:
  serving:
    triggers:
      dapr: [{name: theirs, type: pubsub, topic: work}]
"""
CODE = "import functions_framework as ff\n\n\n@ff.cloud_event\ndef keep(event):\n    print('kept', event.data)\n"


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
    theirs = (
        f"{{url: '{nats.url}', username: {nats.user}, passwordFrom: {{secretRef: {{name: theirs, key: password}}}}}}"
    )
    (shell.project / "evoke.yaml").write_text(BUS % ("theirs", theirs) + FUNCTION)
    shell.up()
    try:
        yield shell
    finally:
        shell.down()


def connected(platform: Platform, name: str) -> dict[str, Any]:
    bus = json.loads(platform.evoke("get", "eventbus", name, "-o", "json").stdout)
    conditions: list[dict[str, Any]] = bus.get("status", {}).get("conditions", [])
    return next((one for one in conditions if one["type"] == "Connected"), {})


def reason_of(platform: Platform, name: str, reason: str) -> dict[str, Any]:
    def found() -> dict[str, Any] | None:
        one = connected(platform, name)
        return one if one.get("reason") == reason else None

    condition: dict[str, Any] = until(found, what=f"{name} with {reason}")
    return condition


def test_every_trouble_has_its_reason(platform: Platform, nats: Nats, tmp_path: Path) -> None:
    buses = {
        "refused": ("ConnectionRefused", f"{{url: 'nats://{LOOPBACK}:{spare()}'}}"),
        "unknown": ("HostUnknown", "{url: 'nats://nowhere.invalid:4222'}"),
        "other": ("NotABroker", f"{{url: 'nats://{LOOPBACK}:{nats.mqtt_port}'}}"),
        "password": ("AuthFailed", f"{{url: '{nats.url}', username: {nats.user}, password: wrong}}"),
        "secret": ("SecretNotFound", f"{{url: '{nats.url}', passwordFrom: {{secretRef: {{name: none, key: k}}}}}}"),
    }
    manifest = tmp_path / "buses.yaml"
    manifest.write_text("".join(BUS % (name, spec) for name, (_, spec) in buses.items()).removesuffix("---\n"))
    platform.evoke("apply", "-f", str(manifest))

    for name, (reason, _) in buses.items():
        condition = reason_of(platform, name, reason)
        assert condition["status"] == "False"
        assert condition["message"]
        assert "wrong" not in condition["message"]
        said = platform.evoke("describe", "eventbus", name).stdout
        assert said.startswith(f"Ready False {reason}: ")
        assert f"False/{reason}" in platform.evoke("get", "eventbus").stdout
    platform.evoke("delete", "-f", str(manifest), check=False)


def test_a_missing_secret_a_wrong_one_and_the_right_one(platform: Platform, nats: Nats) -> None:
    assert "theirs" in reason_of(platform, "theirs", "SecretNotFound")["message"]
    platform.evoke("secret", "set", "theirs", "password", text="wrong\n")
    reason_of(platform, "theirs", "AuthFailed")
    platform.evoke("secret", "set", "theirs", "password", text=nats.password + "\n")
    reason_of(platform, "theirs", "Connected")
    platform.evoke("publish", "work", "--bus", "theirs", "-d", "1")
    until(lambda: "kept 1" in platform.evoke("logs", "keep").stdout, what="the event handled")


def refused_publish(platform: Platform) -> str:
    """What a publish says that is not acknowledged; it has its answer in time."""
    begun = time.monotonic()
    done = platform.evoke("publish", "work", "--bus", "theirs", "-d", "2", check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert time.monotonic() - begun < PUBLISH_WITHIN
    (line,) = done.stderr.splitlines()
    return line


def test_a_broker_that_went_and_came_back(platform: Platform, nats: Nats) -> None:
    reason_of(platform, "theirs", "Connected")
    nats.stop()
    assert "nothing listens" in reason_of(platform, "theirs", "ConnectionRefused")["message"]
    assert refused_publish(platform).startswith("error: E143 ")
    nats.start()
    reason_of(platform, "theirs", "Connected")
    platform.evoke("publish", "work", "--bus", "theirs", "-d", "3")
    until(lambda: "kept 3" in platform.evoke("logs", "keep").stdout, what="the event handled")


def test_a_broker_that_stands_still_acknowledges_nothing(platform: Platform, nats: Nats) -> None:
    reason_of(platform, "theirs", "Connected")
    nats.freeze()
    try:
        assert refused_publish(platform).startswith("error: E143 ")
        reason_of(platform, "theirs", "Unreachable")
    finally:
        nats.thaw()
    reason_of(platform, "theirs", "Connected")
    platform.evoke("publish", "work", "--bus", "theirs", "-d", "4")
    until(lambda: "kept 4" in platform.evoke("logs", "keep").stdout, what="the event handled")
