"""An event that was moved to the end of its subject while it waits for a retry: what it carries along; pure.

Two members are spliced in front of the event and taken off when it comes again, so that its bytes stay what they were:
``evokeattempts``, the attempts that failed, and ``evokenotbefore``, when the next may begin.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

import msgspec

from eventbus.cloudevents import with_member

_FRONT = re.compile(rb'\{"evokeattempts":(\d{1,6}),"evokenotbefore":"([0-9T:.Z-]{1,40})",')


class Moved(msgspec.Struct, frozen=True):
    payload: bytes
    """As it was before."""
    attempts: int
    not_before: float
    """Unix seconds."""


def mark(payload: bytes, attempts: int, not_before: float) -> bytes:
    """*payload* with what it has behind it; *not_before*: unix seconds."""
    at = datetime.fromtimestamp(not_before, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return with_member(with_member(payload.lstrip(), "evokenotbefore", at), "evokeattempts", attempts)


def unmark(payload: bytes) -> Moved | None:
    """What mark() made of an event; None: it was not moved."""
    found = _FRONT.match(payload)
    if found is None:
        return None
    try:
        at = datetime.fromisoformat(found[2].decode()).timestamp()
    except ValueError:
        return None
    return Moved(b"{" + payload[found.end() :], int(found[1]), at)
