"""One MQTT message as it came, whatever version of the protocol brought it."""

from __future__ import annotations

import msgspec


class Message(msgspec.Struct, frozen=True):
    """A PUBLISH packet."""

    mid: int
    topic: str | None
    """None: it is no UTF-8."""
    payload: bytes
    qos: int
    retained: bool
    again: bool
    """Flagged as sent before."""
    content_type: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    """MQTT 5 user properties."""
    expires: int | None = None
    """Seconds that were left of its life when the broker sent it."""
