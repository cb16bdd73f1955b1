"""When a receiver wants to be asked again: Retry-After of RFC 9110, section 10.2.3; pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from email.utils import parsedate_to_datetime

LONGEST = timedelta(hours=1)
"""Of what a receiver may ask for: its key waits for all of that time."""
STATUSES = frozenset({429, 503})
"""Replies whose Retry-After counts."""


def retry_after(status: int, headers: Mapping[bytes, bytes], wall: float) -> timedelta | None:
    """The time asked for, from 0 to LONGEST; None where nothing readable is. *wall*: unix seconds now."""
    raw = headers.get(b"retry-after", b"").decode("latin-1").strip() if status in STATUSES else ""
    if not raw:
        return None
    if raw.isascii() and raw.isdigit():
        return min(timedelta(seconds=int(raw[:9])), LONGEST)
    try:
        at = parsedate_to_datetime(raw)
    except ValueError:
        return None
    left = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - wall
    return min(timedelta(seconds=max(0.0, left)), LONGEST)
