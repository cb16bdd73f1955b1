"""What an app is shown of an event as it was stored, and what goes beside it; pure.

Source: Dapr's subscription to raw payloads and its input bindings (dapr/pkg/runtime/subscription, processor/binding).
The envelope of a raw payload has the stored event's own id, so that an event that comes again is known by it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

import msgspec

from api.model import Subscription
from eventbus import raw
from eventbus.cloudevents import Malformed, heading
from proxy.letters import event_of

EVENT_TYPE = "com.dapr.event.sent"
WILD = frozenset("+#*>")
"""Characters of which one at least stands in a topic that means many."""

_encode = msgspec.json.Encoder().encode


class Trace(msgspec.Struct, frozen=True):
    """W3C trace context of an event, as its publisher wrote it."""

    traceparent: object = ""
    traceid: object = ""
    tracestate: object = ""


class Published(msgspec.Struct, frozen=True):
    """Where an event says that it was published; of a message that is none its subject does."""

    type: object = ""
    topic: object = ""
    subject: object = ""


_published = msgspec.json.Decoder(Published)
_trace = msgspec.json.Decoder(Trace)


def shown(subscription: Subscription, payload: bytes) -> bytes:
    """The structured event that the app gets for the stored *payload*."""
    if subscription.form == "raw":
        return _envelope(subscription, payload)
    if raw.MARK.encode() not in payload or not raw.is_raw(payload):
        return payload
    inside = raw.content(payload)
    try:
        heading(inside)
    except Malformed:
        return payload
    return inside


def _envelope(subscription: Subscription, payload: bytes) -> bytes:
    members = {
        "id": event_of(payload).id,
        "specversion": "1.0",
        "datacontenttype": raw.BYTES,
        "source": "Dapr",
        "type": EVENT_TYPE,
        "topic": topic_of(subscription.subject, payload, raw.metadata(payload)),
        "pubsubname": name_of(subscription),
        **trace_headers(payload, all_members=True),
        "data_base64": b64encode(raw.content(payload)).decode(),
    }
    return _encode(members)


def topic_of(subject: str, payload: bytes, metadata: Mapping[str, str]) -> str:
    """The topic that the event was published on, where the subscription's *subject* stands for many."""
    if not WILD & set(subject):
        return subject
    told: object = metadata.get("__topic") or metadata.get("topic")
    if not told:
        try:
            said = _published.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return subject
        told = said.subject if said.type in raw.FOREIGN else said.topic
    return told if isinstance(told, str) and told else subject


def name_of(subscription: Subscription) -> str:
    """What the app calls the pub/sub component: a function's own stands as ``<function>/<name>``."""
    return subscription.bus.name.rpartition("/")[2]


def beside(payload: bytes, metadata: Mapping[str, str]) -> Mapping[str, str]:
    """What the broker said beside the message: of the event where it was carried from elsewhere, or of the broker that
    the event comes from."""
    return raw.metadata(payload) or metadata


def trace_headers(payload: bytes, *, all_members: bool = False) -> dict[str, str]:
    """``traceparent`` and ``tracestate`` of the event, where they are such; *all_members*: ``traceid`` too."""
    if b'"trace' not in payload:
        return {}
    try:
        trace = _trace.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    parent = trace.traceparent or trace.traceid
    if not (isinstance(parent, str) and parent.isascii() and parent.isprintable() and parent):
        return {}
    found = {"traceparent": parent}
    if all_members:
        found["traceid"] = parent
    if isinstance(trace.tracestate, str) and trace.tracestate.isascii() and trace.tracestate.isprintable():
        found |= {"tracestate": trace.tracestate} if trace.tracestate else {}
    return found
