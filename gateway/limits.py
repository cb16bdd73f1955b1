"""What the gateway takes at most, and the decision to take one more request. Pure."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from gateway.errors import Rejected, later


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds of one gateway process."""

    body: int = 16 << 20
    """Bytes of a request body, streamed or not."""
    queued_body: int = 2 << 20
    """Bytes of an asynchronous invocation: what the bus takes, less base64's third."""
    connections: int = 10_000
    per_function: int = 2_000
    """Requests of one function inside the gateway, running and waiting: 429 above."""
    head_time: timedelta = timedelta(seconds=10)
    """From the first byte of a head to its last: 408 after."""
    body_time: timedelta = timedelta(seconds=30)
    """A body that brings less than *body_floor* bytes in this time: 408."""
    body_floor: int = 256
    idle_time: timedelta = timedelta(seconds=75)
    """A kept connection without a request closes."""
    hold: timedelta = timedelta(seconds=60)
    """A request waits this long for a replica: 504 after."""
    drain: timedelta = timedelta(seconds=10)
    """Running requests may take this long when the gateway stops."""


def admit(*, active: int, waiting: int, queue: int, limits: Limits) -> Rejected | None:
    """Why a request of a function with *active* requests inside the gateway, *waiting* of them held, is not taken."""
    if waiting >= queue:
        return later(503, "queue-full", f"{waiting} requests already wait for this function")
    if active >= limits.per_function:
        return later(429, "too-many-requests", f"{active} requests of this function are already running")
    return None
