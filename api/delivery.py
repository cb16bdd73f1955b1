"""How an event is handed over: attempts, backoff, time limits, order, and what happens at the end."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec

from api.statuses import within

Ordering = Literal["key", "none"]


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential: attempt n waits ``initial * factor ** (n - 1)``, at most *cap*, spread by ±*jitter* of itself."""

    initial: timedelta = timedelta(seconds=1)
    factor: float = 2.0
    cap: timedelta = timedelta(minutes=1)
    jitter: float = 0.1

    def delay(self, attempt: int, spread: float) -> timedelta:
        """Wait after failed *attempt* (1-based); *spread* in -1..1 is the caller's random draw."""
        exponent = min(attempt - 1, 64)  # 2 ** 64 is past every cap and still a float
        base = min(self.initial.total_seconds() * self.factor**exponent, self.cap.total_seconds())
        return timedelta(seconds=base * (1 + self.jitter * spread))


class DeliveryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The delivery promise of one subscription."""

    max_attempts: int = 10
    backoff: Backoff = Backoff()
    timeout: timedelta = timedelta(seconds=60)
    """Limit of one attempt."""
    max_age: timedelta | None = None
    """An event older than this goes to the dead letters as ``expired``; None: never."""
    ordering: Ordering = "key"
    dead_letter: str | None = None
    """Subject of the bus that also receives the dead letters; None: only the trigger's own store."""
    retry_statuses: str = ""
    """HTTP codes of a Dapr app that are tried again (``429,500-599``); empty: all failures."""
    retry_codes: str = ""
    """The same for its gRPC codes, by number."""

    def retries(self, http: int, grpc: int) -> bool:
        """Whether a failed attempt that ended with such a code is made again; 0: it had none of that kind."""
        return (not http or within(self.retry_statuses, http)) and (not grpc or within(self.retry_codes, grpc))
