"""The delivery promise as users write it; api.delivery has the same with every default filled."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from api.kinds.fields import Duration, Subject, Wire


class Backoff(Wire, frozen=True, kw_only=True):
    """Wait between attempts: exponential, spread at random."""

    initial: Duration | None = None
    """Wait after the first failed attempt; 1s where it is not given."""
    factor: Annotated[float, Meta(ge=1, le=100)] | None = None
    """By how much each further wait grows; 2 where it is not given."""
    cap: Duration | None = None
    """Longest wait; 1m where it is not given."""
    jitter: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of the wait by which it is spread; 0.1 where it is not given."""


class Delivery(Wire, frozen=True, kw_only=True):
    """How an event is handed over, and what happens when that fails."""

    retry: Annotated[int, Meta(ge=1, le=10_000)] | None = None
    """Attempts in all, the first one included; 10 where it is not given. After the last the event is a dead letter."""
    backoff: Backoff | None = None
    """Wait between attempts."""
    timeout: Duration | None = None
    """Limit of one attempt; 60s where it is not given."""
    max_age: Duration | None = None
    """An older event is a dead letter; never where it is not given."""
    ordering: Literal["key", "none"] | None = None
    """``key``: events with the same ordering key start in order; ``none``: all run as they come."""
    dead_letter: Subject | None = None
    """Subject of the bus on which dead letters are published too."""
