"""Dead letters as values: the record for the trigger's own store, and the copy for a topic of the bus; pure.

The copy is the event with extensions that say what became of it: ``evokereason``, ``evokeerror``, ``evokeattempts``,
``evoketrigger``, and the three of Knative's delivery specification, ``knativeerrordest``, ``knativeerrorcode`` (only
where there was an HTTP answer) and ``knativeerrordata``. It has one hop more than the event.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import msgspec

from api.model import Subscription, TopicSink, UriSink
from eventbus import raw
from eventbus.bus import DeadLetter
from eventbus.cloudevents import Malformed, heading
from functions_framework.event import Envelope
from proxy.hops import MEMBER, hops
from proxy.lanes import Entry
from proxy.outcomes import Bury

MAX_TEXT = 1024
"""Bytes of an error that go into an attribute."""
MALFORMED_TYPE = "io.evoke.malformed"

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
"""What CloudEvents attributes may not hold."""

_envelope = msgspec.json.Decoder(Envelope)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def event_of(payload: bytes) -> Envelope:
    """The event's attributes; empty ones where *payload* is none."""
    try:
        return _envelope.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Envelope(id="", source="", type="")


def letter(
    subscription: Subscription, share: int, entry: Entry, verdict: Bury, payload: bytes, wall: float
) -> DeadLetter:
    event = event_of(payload)
    return DeadLetter(
        id=f"{share}-{entry.seq}",
        subscription=subscription.key,
        trigger=subscription.trigger,
        subject=subscription.subject,
        reason=verdict.reason,
        error=verdict.error,
        attempts=verdict.attempts,
        at=datetime.fromtimestamp(0, UTC) + timedelta(seconds=wall),
        event_id=event.id,
        event_source=event.source,
        key=entry.key,
        payload=payload,
    )


def destination(subscription: Subscription) -> str:
    """Where the event could not be delivered, as a URI reference."""
    match subscription.sink:
        case UriSink(url=url):
            return _bare(url)
        case TopicSink(subject=subject):
            return f"/topics/{subscription.bus.namespace}/{subscription.bus.name}/{subject}"
        case None if subscription.backends:
            function = subscription.backends[0].revision
            return f"/function/{function.namespace}/{function.function}"
    return f"/triggers/{subscription.key.namespace}/{subscription.trigger or subscription.key.name}"


def _bare(url: str) -> str:
    """*url* without user, password, query and fragment, where a token may stand: copies go to whoever reads a topic."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def copy(found: DeadLetter, subscription: Subscription, code: int, *, bare: bool = False) -> bytes:
    """The event that goes to the topic of dead letters; *bare*: without its data, which stays in the letter alone.

    What is no event becomes one of type ``io.evoke.malformed`` whose data are the original bytes.
    """
    members = _event(found)
    if bare:
        members = {name: value for name, value in members.items() if name not in {"data", "data_base64"}}
        members["evokeletter"] = found.id
    error = attribute(found.error)
    members |= {
        "evokereason": found.reason,
        "evokeerror": error,
        "evokeattempts": found.attempts,
        "evoketrigger": found.trigger or found.subscription.name,
        "knativeerrordest": destination(subscription),
        "knativeerrordata": error,
        MEMBER: hops(found.payload) + 1,
    }
    members.pop("knativeerrorcode", None)
    if code:
        members["knativeerrorcode"] = code
    return _encode({name: value for name, value in members.items() if value != ""})


def carried(found: DeadLetter) -> DeadLetter:
    """The letter whose copy leaves the platform as the very bytes that came, where those were no event."""
    event = event_of(found.payload)
    if event.type not in raw.FOREIGN:
        return found
    payload = raw.wrap(
        raw.content(found.payload),
        id=event.id,
        source=event.source,
        type=event.type,
        time=found.at,
        key=found.key,
        metadata=raw.metadata(found.payload),
    )
    return msgspec.structs.replace(found, payload=payload)


def beside(found: DeadLetter) -> Mapping[str, str]:
    """What is said beside the copy of a message that a broker gets as bare bytes: they have no place for it."""
    if not raw.is_raw(found.payload):
        return raw.NOTHING
    error = attribute(found.error)
    return {"evokereason": found.reason, "evokeerror": error, "evokeattempts": str(found.attempts)}


def _event(found: DeadLetter) -> dict[str, Any]:
    try:
        heading(found.payload)
        return dict(_members.decode(found.payload))
    except (Malformed, msgspec.DecodeError, UnicodeDecodeError):
        pass
    members: dict[str, Any] = {"specversion": "1.0", "type": MALFORMED_TYPE, "id": f"{found.subject}/{found.id}"}
    members["source"] = f"/triggers/{found.subscription.namespace}/{found.trigger or found.subscription.name}"
    if found.key:
        members["partitionkey"] = found.key
    return members | {"data_base64": b64encode(found.payload).decode()}


def attribute(text: str) -> str:
    """*text* as a CloudEvents attribute of at most 1 KB."""
    clean = _CONTROL.sub(" ", text).encode("utf-8", "replace")[:MAX_TEXT]
    return clean.decode("utf-8", "ignore").strip()
