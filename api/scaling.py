"""What the autoscaler is told and what it answers; the decisions themselves live in triggers/."""

from __future__ import annotations

import enum
from datetime import datetime, timedelta
from typing import Any, Literal

import msgspec


class Authority(enum.Enum):
    """Who may write the replica count of a revision; exactly one at a time."""

    EVOKE = "Evoke"
    KEDA = "KEDA"
    EXTERNAL = "External"
    PAUSED = "Paused"


class Scaler(msgspec.Struct, frozen=True, kw_only=True):
    """One declared scaler, its metadata as the user wrote it."""

    name: str
    kind: str
    metadata: dict[str, str] = {}
    auth: str | None = None


class ScalePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds and pace of one revision's replica count."""

    authority: Authority = Authority.EVOKE
    mode: Literal["native", "keda"] = "native"
    min: int = 0
    max: int = 10
    initial: int = 0
    cooldown: timedelta = timedelta(minutes=5)
    """Idle time before the last replica goes (KEDA's cooldownPeriod, default 300 s)."""
    scalers: tuple[Scaler, ...] = ()
    behavior: dict[str, Any] | None = None
    fallback: dict[str, Any] | None = None
    paused_at: int | None = None


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one scaler saw. A scaler that cannot see raises instead; there is no Reading for "unknown"."""

    value: float
    """Load now, in the scaler's unit (events, requests in flight)."""
    target: float
    """Load that one replica should carry."""
    activation: float = 0.0
    """The scaler is active while value > activation."""
    waiting: int = 0
    """Work that no replica has taken yet."""
    at: datetime
