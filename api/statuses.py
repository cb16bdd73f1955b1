"""Lists of status codes as Dapr's Resiliency writes them (``429,500-599``), and gRPC's codes by name; pure."""

from __future__ import annotations

from functools import lru_cache

GRPC = (
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
)
"""Each at its number."""


def number(name: str) -> int:
    """gRPC's number of the status called *name*; that of UNKNOWN for what is none."""
    return GRPC.index(name) if name in GRPC else 2


def within(listed: str, code: int) -> bool:
    """Whether *listed* names *code*; an empty list names all, and so does what is none: it was refused when read."""
    try:
        return not listed.strip() or any(low <= code <= high for low, high in ranges(listed))
    except ValueError:
        return True


@lru_cache(maxsize=256)
def ranges(listed: str) -> tuple[tuple[int, int], ...]:
    """First and last code of each part; raises ValueError for what is no list."""
    found = []
    for part in listed.split(","):
        low, dash, high = part.partition("-")
        found.append((int(low), int(high if dash else low)))
    return tuple(found)
