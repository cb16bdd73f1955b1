"""What must hold across the fields of one resource, and across resources. Field types alone cannot say it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from api.consistency import dapr, events, functions
from api.structure import Fault
from api.tree import Path

CHECKS: Mapping[str, Callable[..., Iterator[Fault]]] = {
    "Function": functions.function,
    "Serving": functions.revision,
    "Builder": functions.builder,
    "EventBus": events.bus,
    "ClusterEventBus": events.bus,
    "EventSource": events.source,
    "Trigger": events.trigger,
    "Gateway": events.gateway,
    "Component": dapr.component,
    "Subscription": dapr.subscription,
    "Resiliency": dapr.resiliency,
    "Configuration": dapr.configuration,
}
"""Kind -> its check: (spec, namespace, complete)."""


def check(kind: str, spec: Any, namespace: str, *, complete: bool, path: Path = ("spec",)) -> list[Fault]:
    """Faults of a structurally sound *spec*; *complete* is False when defective parts of it were left out."""
    found = CHECKS[kind](spec, namespace, complete) if kind in CHECKS else ()
    return [Fault(fault.code, path + fault.path, fault.message) for fault in found]
