"""The event bus ``default`` that every namespace has without declaring it, as a resource; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from api import conditions
from api.conditions import Condition, false, true, unknown
from api.frames import BusReading
from api.kinds import EVENTS
from api.meta import Key
from controller.snapshot import DEFAULT_BUS


def default_bus(namespace: str, readings: Iterable[BusReading], since: datetime) -> dict[str, Any]:
    """The resource, its status from what the agents read."""
    key = Key(namespace, DEFAULT_BUS)
    mine = [one for one in readings if one.bus == key]
    settled = conditions.settle((), [true("Accepted"), _connected(mine)], generation=1, now=since)
    return {
        "apiVersion": EVENTS,
        "kind": "EventBus",
        "metadata": {
            "name": DEFAULT_BUS,
            "namespace": namespace,
            "uid": f"default-{namespace}",
            "generation": 1,
            "labels": {},
            "annotations": {},
            "creationTimestamp": since,
        },
        "spec": {},
        "status": {"conditions": settled},
    }


def _connected(readings: list[BusReading]) -> Condition:
    broken = next((one for one in readings if not one.connected), None)
    if broken is not None:
        return false("Connected", broken.reason or "Unreachable", broken.message)
    if not readings:
        return unknown("Connected", "Unassigned", "no proxy has reported it yet")
    return true("Connected", message=readings[0].detail)


def with_default(
    items: list[dict[str, Any]], namespaces: Iterable[str], readings: Iterable[BusReading], since: datetime
) -> list[dict[str, Any]]:
    """*items* and, for each namespace that declares none of that name, its default bus."""
    declared = {item["metadata"]["namespace"] for item in items if _is_default(item)}
    read = list(readings)
    return [*(default_bus(name, read, since) for name in sorted(set(namespaces) - declared)), *items]


def _is_default(item: Mapping[str, Any]) -> bool:
    return bool(item["kind"] == "EventBus") and bool(item["metadata"]["name"] == DEFAULT_BUS)
