"""What both MQTT sources tell of themselves, and how they send a message as a device does."""

from __future__ import annotations

from typing import NamedTuple

from api.frames import SourceReading
from api.meta import Key
from eventbus.errors import BusError
from eventbus.mqtt.link import Link
from triggers.sources.lanes import Lanes
from triggers.sources.source import SourceError

ACKNOWLEDGED_WITHIN = 9.0


class Seen(NamedTuple):
    """What one source has seen so far."""

    source: Key
    connected: bool
    received: int
    dropped: int
    """Messages of QoS 0 for which there was no room."""


def reading(seen: Seen, trouble: BusError | None, lanes: Lanes | None) -> SourceReading:
    """*trouble*: of the connection; *lanes*: the way to the bus, None before it runs."""
    reason, message = (trouble.reason, str(trouble)) if trouble else lanes.reading() if lanes else ("", "")
    lost = f"{seen.dropped} messages of QoS 0 were dropped because the bus was slower" if seen.dropped else ""
    return SourceReading(
        source=seen.source,
        connected=seen.connected,
        received=seen.received,
        published=lanes.published if lanes else 0,
        reason=reason,
        message=message or lost,
    )


async def send(link: Link, topic: str, payload: bytes) -> None:
    """Publish with QoS 1, return at the PUBACK; raises SourceError."""
    if not topic or "+" in topic or "#" in topic:
        raise SourceError(f"{topic!r} is no topic to publish to", hint="name one without + and #")
    try:
        await link.publish(topic, payload, within=ACKNOWLEDGED_WITHIN)
    except BusError as error:
        raise SourceError(str(error), hint=error.hint) from error
