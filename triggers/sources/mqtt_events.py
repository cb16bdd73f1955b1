"""MQTT messages as CloudEvents: an event that a client sent stays what it is, anything else becomes one; pure.

How clients put events into messages: CloudEvents MQTT protocol binding 1.0.2 (binary and structured mode of MQTT 5,
structured JSON in 3.1.1). How user properties become attributes: docs/guides/mqtt.md.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from eventbus import cloudevents
from eventbus.cloudevents import Malformed, Spoofed
from eventbus.mqtt.wire import NAME
from triggers.sources.attributes import extensions, media, wrong
from triggers.sources.manners import Manner
from triggers.sources.storing import Brought

EVENT_TYPE = "io.evoke.mqtt.message"


class Properties(msgspec.Struct, frozen=True):
    """What a message says of itself beside topic and payload; 3.1.1 has only *retained*."""

    content_type: str = ""
    user: tuple[tuple[str, str], ...] = ()
    expires: int | None = None
    """Seconds."""
    retained: bool = False


def mqtt_event(
    manner: Manner,
    topic: str,
    payload: bytes,
    said: Properties,
    id: str,  # noqa: A002  # CloudEvents' own name
    now: datetime,
) -> Brought:
    """The event of one message of a source of that manner; *id* is that of a message that is no event."""
    if manner.trusted and (name := dict(said.user).get(NAME)):
        rest = tuple(pair for pair in said.user if pair[0] != NAME)
        said, id = msgspec.structs.replace(said, user=rest), name  # noqa: A001  # CloudEvents' own name
    beside = {"topic": topic, "retained": str(said.retained).lower()}
    plain = manner.plain(payload, id=id, type=EVENT_TYPE, time=now, key=topic, metadata=beside)
    return plain or convert(topic, payload, said, source=manner.uri, id=id, now=now, trusted=manner.trusted)


def convert(
    topic: str,
    payload: bytes,
    said: Properties,
    *,
    source: str,
    id: str,  # noqa: A002  # CloudEvents' own name
    now: datetime,
    trusted: bool = False,
) -> Brought:
    """The event of one message; *source* and *id* are those of a message that is no event.

    *trusted*: the clients of this broker may set what else only the platform sets, and events keep to their own key or
    to none: it is an event bus.
    """
    sent = _structured(payload, said, trusted) or _binary(payload, said, trusted)
    if sent is not None:
        event, read = sent
        key = read.partitionkey or ("" if trusted else topic)
        return Brought(event, key, cloudevents.dedupe_id(read.source, read.id), id)
    attributes: dict[str, str | int | bool] = {
        "subject": topic,
        "partitionkey": topic,
        **extensions(said.user, omitted="mqttomitted"),
    }
    if said.retained:
        attributes["mqttretained"] = True
    if said.expires is not None:
        attributes["expirytime"] = _stamp(now + timedelta(seconds=said.expires))
    event = cloudevents.encode(
        id=id,
        source=source,
        type=EVENT_TYPE,
        body=payload or None,
        content_type=media(said.content_type),
        time=now,
        extensions=attributes,
    )
    return Brought(event, str(attributes["partitionkey"]), cloudevents.dedupe_id(source, id), id)


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


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def unfit(topic: str | None) -> str:
    """Why no event can be made of a message of *topic*; empty: one can."""
    if topic is None:
        return "its topic is no UTF-8"
    why = wrong("subject", topic)
    return f"its topic cannot be a subject: {why}" if why else ""
