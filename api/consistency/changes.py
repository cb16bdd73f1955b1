"""What may not change after creation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from api.structure import Fault

MUTABLE: Mapping[str, frozenset[str]] = {
    "Serving": frozenset({"replicas"}),
    "Builder": frozenset({"state"}),
}
"""Kinds whose spec is made once -> the fields of it that may still change."""


def changes(kind: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[Fault]:
    """E127 for each field of the body that an update changes and must not."""
    if kind not in MUTABLE:
        return
    for field in sorted((before.keys() | after.keys()) - MUTABLE[kind]):
        if before.get(field) != after.get(field):
            yield Fault("E127", ("spec", field), f"a {kind} is made once: delete it and create it anew")
