"""What all input bindings have in common as event sources; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from api.meta import Key
from api.model import Component, Option, Source

PREFIX = "binding/"
"""Of their names: no resource has a slash in its own."""
STORE = "default"
"""The event bus of a namespace that keeps what a binding brought until the app has it."""


def bound(
    kind: Literal["cron", "kafka", "mqtt"],
    component: Component,
    function: Key,
    subject: str,
    options: Mapping[str, Option],
) -> Source:
    """A source whose messages are handed over as they stand."""
    return Source(
        key=Key(function.namespace, f"{PREFIX}{function.name}.{component.name}"),
        kind=kind,
        options={**options, "binding": component.name},
        bus=Key(function.namespace, STORE),
        subject=subject,
    )
