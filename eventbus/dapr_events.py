"""Events as Dapr's sidecars put them on a broker: structured JSON that nothing announces, sometimes incomplete; pure.

A publisher that brings its own CloudEvent may leave id, source and type out there (components-contrib,
pubsub/envelope.go), and nothing is checked. Here they are filled, because ``(source, id)`` identifies duplicates.
"""

from __future__ import annotations

from typing import Any

import msgspec

from eventbus import cloudevents
from eventbus.cloudevents import Heading, Malformed

_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def sent(value: bytes, place: str) -> tuple[bytes, Heading] | None:
    """The event in a message, byte for byte where it is whole; *place*, unique on the bus, is the id of one without.

    None: the message is something else.
    """
    if value.lstrip()[:1] != b"{" or b'"specversion"' not in value:
        return None
    try:
        return value, cloudevents.heading(value)
    except Malformed:
        return _filled(value, place)


def _filled(value: bytes, place: str) -> tuple[bytes, Heading] | None:
    try:
        members: dict[str, Any] = dict(_members.decode(value))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    for name, default in {"id": place, "source": "Dapr", "type": "com.dapr.event.sent"}.items():
        members.setdefault(name, default)
    payload = bytes(_encode(members))
    try:
        return payload, cloudevents.heading(payload)
    except Malformed:
        return None
