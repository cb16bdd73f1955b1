"""Events of several inputs that find each other: one pure step per event; no clock, no I/O.

State stands in one cell per value of ``correlate`` (state_key). Whoever runs a join does this for each event:

1. read the cell; publish ``state.pending`` where there is one, and go on with settled(state);
2. advance(); store the new state over what was read, and begin anew where somebody else was faster;
3. where it fired: publish, then store settled(state). That may fail: the next reader of the cell does both again, and
   the bus drops what it has by its dedupe id;
4. acknowledge the event.

So no kill loses or doubles anything: what fired stands in the cell until it is on the bus. The cell must live for
lifetime(join) after its last change, or longer: what is over is seen from *now*, not from the cell.
"""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import Any

import msgspec

from api.errors import EvokeError
from api.model import Join
from eventbus.cloudevents import Heading
from triggers.paths import compile_path
from triggers.presence import compile_presence

MAX_PAYLOAD = 64 << 10
"""Bytes of one event that takes part; with triggers.presence.MAX_NAMES inputs a cell stays below a mebibyte."""
MAX_SEEN = 128
"""Events of one cell that are known again when they come twice; those that came first are forgotten first."""
REMEMBERED = timedelta(minutes=2)
"""How long a cell stays at least, as long as a bus drops duplicates."""
TYPE = "io.evoke.joined"

_VERSION = b"\x01"


class TooLarge(EvokeError):
    """The event is larger than a join keeps: it can never take part."""


class BadState(EvokeError):
    """The cell holds nothing that this release can read."""


class Event(msgspec.Struct, frozen=True):
    heading: Heading
    payload: bytes


class Fired(msgspec.Struct, frozen=True, array_like=True):
    """What to publish on the join's subject."""

    payload: bytes
    key: str
    """Ordering key; empty: none."""
    dedupe: str
    """The same for the same events, whoever computes it and how often."""
    hops: int = 0
    """Most hops (extension ``evokehops``) that any of its events had."""


class Held(msgspec.Struct, frozen=True, array_like=True):
    """The newest event of an input."""

    payload: bytes
    at: float
    """Unix seconds of its arrival."""
    id: bytes
    """Digest of source and id."""


class JoinState(msgspec.Struct, frozen=True, array_like=True):
    """What one cell holds."""

    held: dict[str, Held] = {}
    """Input -> its event."""
    seen: tuple[bytes, ...] = ()
    """Digests of events that took part, in the order in which they came."""
    pending: Fired | None = None
    """Fired, and perhaps not published yet."""


def advance(
    state: JoinState,
    join: Join,
    input: str,  # noqa: A002 - the domain's word
    event: Event,
    now: float,
) -> tuple[JoinState, Fired | None]:
    """*state* after *event* came on *input* at *now* (unix seconds), and what that fired; then none of that is held.

    Events go together whose times are less than ``join.window`` apart, in whatever order they are told of: a backlog of
    one input does not bring together what was apart. Of one input the newest is held. An event that took part already
    changes nothing. Absence is that of what was told so far. Raises TooLarge.
    """
    if len(event.payload) > MAX_PAYLOAD:
        raise TooLarge(
            f"an event of {len(event.payload)} bytes cannot wait for others; the limit is {MAX_PAYLOAD}",
            hint="send a reference to the data",
        )
    window = join.window.total_seconds()
    held = {name: one for name, one in state.held.items() if now - one.at < window and name in join.inputs}
    digest = _digest(input, event.heading)
    if digest in state.seen:
        return JoinState(held, state.seen), None
    seen = (*state.seen, digest)[-MAX_SEEN:]
    came = Held(event.payload, now, digest)
    there = {**{name: one for name, one in held.items() if one.at - now < window}, input: came}
    if compile_presence(join.condition)(there):
        fired = _fire(join, there, event)
        left = {name: one for name, one in held.items() if name not in there or (name == input and one.at > now)}
        return JoinState(left, seen, fired), fired
    if input not in held or held[input].at <= now:
        held[input] = came
    return JoinState(held, seen), None


def settled(state: JoinState) -> JoinState:
    """*state* once what fired is on the bus."""
    return msgspec.structs.replace(state, pending=None)


def state_key(join: Join, payload: bytes) -> str | None:
    """Cell of the event (``[A-Za-z0-9_.-]+``); None: it lacks what events share here, and takes no part.

    Raises eventbus.cloudevents.Malformed.
    """
    name = f"{join.key.namespace}.{join.key.name}"
    if not join.correlate:
        return f"{name}.any"
    value = compile_path(join.correlate)(payload)
    return f"{name}.{hashlib.sha256(value.encode()).hexdigest()[:32]}" if value else None


def lifetime(join: Join) -> timedelta:
    """How long a cell must live after its last change."""
    return max(join.window, REMEMBERED)


def encode(state: JoinState) -> bytes:
    """The cell's value."""
    return _VERSION + msgspec.msgpack.encode(state)


def decode(value: bytes) -> JoinState:
    """The state in a cell, an empty cell included; raises BadState."""
    if not value:
        return JoinState()
    if value[:1] != _VERSION:
        raise BadState("a join's state was written by another release", hint="it is forgotten with its window")
    try:
        return msgspec.msgpack.decode(value[1:], type=JoinState)
    except msgspec.DecodeError as error:
        raise BadState(f"a join's state is broken: {error}", hint="it is forgotten with its window") from error


def _digest(input: str, heading: Heading) -> bytes:  # noqa: A002 - the domain's word
    """One event may come on two inputs, and takes part in both."""
    return hashlib.sha256(f"{input}\0{heading.source}\0{heading.id}".encode()).digest()[:12]


class _Facts(msgspec.Struct, frozen=True):
    """Attributes that may be missing or of another type than their own."""

    time: Any = ""
    evokehops: Any = 0


_facts = msgspec.json.Decoder(_Facts)


def _fire(join: Join, held: dict[str, Held], event: Event) -> Fired:
    ids = b"".join(held[name].id for name in sorted(held))
    dedupe = hashlib.sha256(f"{join.key}\0".encode() + ids).hexdigest()[:40]
    facts = [_facts.decode(one.payload) for one in held.values()]
    hops = max((one.evokehops for one in facts if type(one.evokehops) is int), default=0)
    if join.forward == "newest":
        return Fired(event.payload, event.heading.partitionkey, dedupe, hops)
    key = _shared(join, event) or event.heading.partitionkey
    members: dict[str, object] = {
        "specversion": "1.0",
        "id": dedupe,
        "source": f"evoke://{join.key.namespace}/triggers/{join.key.name}",
        "type": TYPE,
        "datacontenttype": "application/json",
    }
    members |= (
        {"time": newest} if (newest := max((one.time for one in facts if type(one.time) is str), default="")) else {}
    )
    members |= {"partitionkey": key} if key else {}
    members |= {"evokehops": hops} if hops else {}
    members["data"] = {name: msgspec.Raw(held[name].payload) for name in join.inputs if name in held}
    return Fired(msgspec.json.encode(members), key, dedupe, hops)


def _shared(join: Join, event: Event) -> str:
    """The value that the events share, as text."""
    value = compile_path(join.correlate)(event.payload) if join.correlate else ""
    return str(msgspec.json.decode(value)) if value.startswith('"') else value
