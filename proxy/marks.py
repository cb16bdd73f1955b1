"""Attributes that end an event whatever its function would say: its time to live, and its hops; pure."""

from __future__ import annotations

from datetime import datetime

import msgspec

from proxy.hops import LIMIT


class Marks(msgspec.Struct, frozen=True):
    evokehops: int = 0
    expiration: str = ""
    """RFC 3339: Dapr's ttlInSeconds."""


_marks = msgspec.json.Decoder(Marks)


def flaw_of(payload: bytes, wall: float) -> tuple[str, str] | None:
    """Reason and error for the dead letter; None when the event may go. *wall*: unix seconds."""
    if error := expiry(payload, wall):
        return "expired", error
    if b'"evokehops"' not in payload:
        return None
    marks = _read(payload)
    return ("loop", f"published on more than {LIMIT} times") if marks.evokehops > LIMIT else None


def expiry(payload: bytes, wall: float) -> str:
    """That and when the event's time to live ended; empty: it has not, or it has none."""
    if b'"expiration"' not in payload:
        return ""
    said = _read(payload).expiration
    try:
        ended = bool(said) and datetime.fromisoformat(said).timestamp() <= wall
    except (ValueError, OverflowError):
        return ""
    return f"its time to live ended at {said}" if ended else ""


def _read(payload: bytes) -> Marks:
    try:
        return _marks.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return Marks()
