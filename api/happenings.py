"""What a person watching the platform sees, one line each; the stream of ``GET /v1/watch`` and of ``evoke up``."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

import msgspec

HappeningType = Literal[
    "ready",
    "changed",
    "problem",
    "scaled",
    "attempt-failed",
    "dead-letter",
    "delivered",
    "activation",
    "source",
    "reload",
    "removed",
    "log",
]


class Happening(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that happened to one resource."""

    at: datetime
    namespace: str
    resource: str
    """``function/on-reading``"""
    type: HappeningType
    message: str = ""
    data: dict[str, Any] = {}
    """For ``log`` the JSON log line; for ``scaled`` from, to, because and cold_start_ms; else by type."""
