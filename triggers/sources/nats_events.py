"""NATS messages as CloudEvents: an event that a client sent stays what it is, anything else becomes one; pure.

How clients put events into messages: CloudEvents NATS protocol binding 1.0.2 (headers ``ce-...`` with percent-encoded
values, or structured JSON). How headers become attributes: docs/guides/nats-sources.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from eventbus import cloudevents
from eventbus.cloudevents import Malformed, Spoofed
from triggers.sources.attributes import extensions, media, wrong
from triggers.sources.storing import Brought

EVENT_TYPE = "io.evoke.nats.message"
SERVER = ("nats-", "nmqtt-")
"""Beginnings of headers that servers set and read."""


def convert(
    subject: str,
    data: bytes,
    headers: Mapping[str, str],
    *,
    source: str,
    id: str,  # noqa: A002  # CloudEvents' own name
    time: datetime,
    outsider: bool = True,
) -> Brought:
    """The event of one message; *source*, *id* and *time* are those of a message that is no event.

    *outsider*: it may not say what only the platform does.
    """
    said = {name: value for name, value in headers.items() if not name.lower().startswith(SERVER)}
    sent = _sent(said, data, outsider=outsider)
    if sent is not None:
        event, read = sent
        return Brought(event, read.partitionkey or subject, cloudevents.dedupe_id(read.source, read.id), id)
    content_type = next((value for name, value in said.items() if name.lower() == "content-type"), "")
    others = [(name, value) for name, value in said.items() if name.lower() != "content-type"]
    attributes = {"subject": subject, "partitionkey": subject, **extensions(others, omitted="natsomitted")}
    event = cloudevents.encode(
        id=id,
        source=source,
        type=EVENT_TYPE,
        body=data or None,
        content_type=media(content_type),
        time=time,
        extensions=attributes,
    )
    return Brought(event, str(attributes["partitionkey"]), cloudevents.dedupe_id(source, id), id)


def _sent(headers: Mapping[str, str], data: bytes, *, outsider: bool) -> tuple[bytes, cloudevents.Heading] | None:
    """The event that the message carries, in binary or structured mode, and that holds."""
    lower = {name.lower(): value for name, value in headers.items()}
    declared = lower.get("content-type", "").lower()
    sniffed = not declared and data.startswith(b"{") and b'"specversion"' in data
    if not declared.startswith(cloudevents.STRUCTURED) and "ce-specversion" not in lower and not sniffed:
        return None
    try:
        event = data if sniffed else cloudevents.from_binary(lower, data)
        return event, cloudevents.checked(event, outsider=outsider)
    except (Malformed, Spoofed):
        return None


def unfit(subject: str) -> str:
    """Why no event can be made of a message on *subject*; empty: one can."""
    why = wrong("subject", subject)
    return f"its subject cannot be an event's: {why}" if why else ""
