"""One MQTT message as it came, whatever version of the protocol brought it."""

from __future__ import annotations

from typing import Any

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


def received(message: Any) -> Message:
    """From the client library's own; 3.1.1 has no properties."""
    properties = message.properties
    try:
        topic: str | None = message.topic
    except UnicodeDecodeError:
        topic = None
    return Message(
        mid=message.mid,
        topic=topic,
        payload=bytes(message.payload),
        qos=message.qos,
        retained=message.retain,
        again=message.dup,
        content_type=getattr(properties, "ContentType", ""),
        properties=tuple(getattr(properties, "UserProperty", ())),
        expires=getattr(properties, "MessageExpiryInterval", None),
    )
