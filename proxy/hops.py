"""How many times an event was published because of another one: extension ``evokehops``; pure.

Whatever publishes because of an event counts up: outputs of functions, topic sinks, joins, copies of dead letters. An
event above the limit goes in a circle, and its way ends in the dead letters.
"""

from __future__ import annotations

import msgspec

from eventbus.cloudevents import with_member

MEMBER = "evokehops"
LIMIT = 16


class Hops(msgspec.Struct, frozen=True):
    evokehops: int = 0


_hops = msgspec.json.Decoder(Hops)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def hops(payload: bytes) -> int:
    """Hops of a structured event; 0 where it tells none."""
    if b'"evokehops"' not in payload:
        return 0
    try:
        return max(0, _hops.decode(payload).evokehops)
    except msgspec.DecodeError:
        return 0


def count_up(payload: bytes) -> bytes:
    """The same event, one hop further."""
    return with_hops(payload, hops(payload) + 1)


def with_hops(payload: bytes, count: int) -> bytes:
    """The same event at *count* hops."""
    if b'"evokehops"' not in payload:
        return with_member(payload, MEMBER, count)
    members = _members.decode(payload)
    members[MEMBER] = msgspec.Raw(_encode(count))
    return _encode(members)


def caused(payload: bytes, by: int | None) -> bytes:
    """*payload* as published because of an event of *by* hops; as it is where nobody knows, or it tells by itself."""
    if by is None or b'"evokehops"' in payload:
        return payload
    return with_hops(payload, by + 1)


def echoed(header: bytes) -> int | None:
    """Hops in header ``evoke-hops``, which a delivery has and a publish may echo; None: it tells nothing."""
    return int(header) if header.isdigit() and len(header) < 7 else None
