"""Event buses on a running platform, as a user sees them: what is declared, what is said of it, what a publish says."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from tests.platform import Platform, until

PUBLISH_WITHIN = 15.0
"""Seconds: a publish has its answer after ten, and a command line starts meanwhile."""
CODE = "import functions_framework as ff\n\n\n@ff.cloud_event\ndef keep(event):\n    print('kept', event.data)\n"


def bus(name: str, kind: str, **options: object) -> dict[str, Any]:
    return {
        "apiVersion": "events.openfunction.io/v1alpha1",
        "kind": "EventBus",
        "metadata": {"name": name},
        "spec": {kind: options},
    }


def function(name: str, bus_name: str, topic: str) -> dict[str, Any]:
    """One that prints what it gets."""
    trigger = {"name": bus_name, "type": "pubsub", "topic": topic}
    return {
        "apiVersion": "core.openfunction.io/v1beta2",
        "kind": "Function",
        "metadata": {"name": name},
        "spec": {"serving": {"handler": "main:keep", "triggers": {"dapr": [trigger]}}},
    }


def manifest(path: Path, *resources: dict[str, Any]) -> Path:
    path.write_text("---\n".join(json.dumps(resource) + "\n" for resource in resources))
    return path


def reason_of(platform: Platform, name: str, reason: str) -> dict[str, Any]:
    """Condition Connected of an event bus once it has *reason*."""
    seen: list[str] = []

    def found() -> dict[str, Any] | None:
        items = platform.request("GET", f"/v1/resources/eventbus/default/{name}")
        for one in items.get("status", {}).get("conditions", []):
            if one["type"] == "Connected":
                seen[:] = [f"{one['reason']}: {one.get('message')}"]
                if one["reason"] == reason:
                    return dict(one)
        return None

    try:
        condition: dict[str, Any] = until(found, what=f"{name} with {reason}")
    except AssertionError as error:
        raise AssertionError(f"{error}; it has {seen}") from None
    return condition


def is_told(platform: Platform, name: str, reason: str) -> None:
    """Condition, `get` and `describe` say *reason*, with words and without secrets."""
    condition = reason_of(platform, name, reason)
    assert condition["status"] == "False"
    assert condition["message"]
    assert "wrong" not in condition["message"]
    assert platform.evoke("describe", "eventbus", name).stdout.startswith(f"Ready False {reason}: ")
    assert f"False/{reason}" in platform.evoke("get", "eventbus").stdout


def refused_publish(platform: Platform, name: str, topic: str) -> None:
    """A publish is not acknowledged, and says so in time."""
    begun = time.monotonic()
    done = platform.evoke("publish", topic, "--bus", name, "-d", "2", check=False)
    assert (done.returncode, done.stdout) == (1, ""), done.stderr
    assert time.monotonic() - begun < PUBLISH_WITHIN
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: E143 ")


def goes_on(platform: Platform, name: str, topic: str, function_name: str, number: int) -> None:
    """The bus is back: an event goes the whole way."""
    reason_of(platform, name, "Connected")
    platform.evoke("publish", topic, "--bus", name, "-d", str(number))
    until(lambda: f"kept {number}" in platform.evoke("logs", function_name).stdout, what="the event handled")
