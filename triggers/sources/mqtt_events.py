"""MQTT messages as CloudEvents: an event that a client sent stays what it is, anything else becomes one; pure.

How clients put events into messages: CloudEvents MQTT protocol binding 1.0.2 (binary and structured mode of MQTT 5,
structured JSON in 3.1.1). How user properties become attributes: docs/guides/mqtt.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import msgspec

from eventbus import cloudevents
from eventbus.cloudevents import Malformed, Spoofed
from functions_framework.attributes import problem

EVENT_TYPE = "io.evoke.mqtt.message"
MAX_PROPERTIES = 64
"""User properties that become attributes; what is left out is counted in ``mqttomitted``."""
CORE = frozenset({"id", "source", "type", "specversion", "time", "datacontenttype", "dataschema", "subject", "data"})
OURS = ("evoke", "mqtt", "knative")
"""Beginnings of attributes that only the platform sets."""

_OUTSIDE = re.compile(r"[^a-z0-9]+")


class Converted(msgspec.Struct, frozen=True):
    """One event as the bus takes it."""

    payload: bytes
    key: str
    dedupe: str


class Properties(msgspec.Struct, frozen=True):
    """What a message says of itself beside topic and payload; 3.1.1 has only *retained*."""

    content_type: str = ""
    user: tuple[tuple[str, str], ...] = ()
    expires: int | None = None
    """Seconds."""
    retained: bool = False


def convert(
    topic: str,
    payload: bytes,
    said: Properties,
    *,
    source: str,
    id: str,  # noqa: A002  # CloudEvents' own name
    now: datetime,
    trusted: bool = False,
) -> Converted:
    """The event of one message; *source* and *id* are those of a message that is no event.

    *trusted*: the clients of this broker may set what else only the platform sets, and events keep to their own key or
    to none: it is an event bus.
    """
    sent = _structured(payload, said, trusted) or _binary(payload, said, trusted)
    if sent is not None:
        event, read = sent
        key = read.partitionkey or ("" if trusted else topic)
        return Converted(event, key, cloudevents.dedupe_id(read.source, read.id))
    extensions: dict[str, str | int | bool] = {"subject": topic, "partitionkey": topic, **attributes(said.user)}
    if said.retained:
        extensions["mqttretained"] = True
    if said.expires is not None:
        extensions["expirytime"] = _stamp(now + timedelta(seconds=said.expires))
    event = cloudevents.encode(
        id=id,
        source=source,
        type=EVENT_TYPE,
        body=payload or None,
        content_type=_media(said.content_type),
        time=now,
        extensions=extensions,
    )
    return Converted(event, str(extensions["partitionkey"]), cloudevents.dedupe_id(source, id))


def _structured(payload: bytes, said: Properties, trusted: bool) -> tuple[bytes, cloudevents.Heading] | None:
    declared = said.content_type.lower().startswith(cloudevents.STRUCTURED)
    if not declared and (said.content_type or not payload.startswith(b"{") or b'"specversion"' not in payload):
        return None
    try:
        return payload, cloudevents.checked(payload, outsider=not trusted)
    except (Malformed, Spoofed):
        return None


def _binary(payload: bytes, said: Properties, trusted: bool) -> tuple[bytes, cloudevents.Heading] | None:
    """User properties that bear an event's own names carry the event."""
    given = dict(said.user)
    if not {"specversion", "id", "source", "type"} <= given.keys():
        return None
    members: dict[str, object] = dict(given)
    if payload:
        members.update(cloudevents.data_members(payload, said.content_type or None))
    event = msgspec.json.encode(members)
    try:
        return event, cloudevents.checked(event, outsider=not trusted)
    except (Malformed, Spoofed):
        return None


def attributes(properties: Iterable[tuple[str, str]]) -> Mapping[str, str | int]:
    """Extension attributes of user properties: lower case, letters and digits of the name; the first of a name counts.

    Left out are names that CloudEvents or the platform use and values that no attribute may have.
    """
    found: dict[str, str | int] = {}
    omitted = 0
    for given, value in properties:
        name = _OUTSIDE.sub("", given.lower())
        fits = name and name not in CORE and name not in found and not name.startswith(OURS)
        if not fits or len(found) >= MAX_PROPERTIES or problem({**_ANY, name: value}):
            omitted += 1
        else:
            found[name] = value
    if omitted:
        found["mqttomitted"] = omitted
    return found


_ANY = {"id": "-", "source": "-", "type": "-", "specversion": "1.0"}


def _media(content_type: str) -> str | None:
    """The content type where it is one: anything may stand there."""
    return None if not content_type or problem({**_ANY, "datacontenttype": content_type}) else content_type


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unfit(topic: str | None) -> str:
    """Why no event can be made of a message of *topic*; empty: one can."""
    if topic is None:
        return "its topic is no UTF-8"
    if wrong := problem({**_ANY, "subject": topic, "partitionkey": topic}):
        return f"its topic cannot be a subject: {wrong}"
    return ""
