"""How the messages of one source become events: pure.

An EventSource brings messages of outsiders. The bridge of a bus brings what stands on its broker, where our own events
come by too, and on the bus of a Dapr component those of Dapr's sidecars. An input binding brings bytes that nobody may
take for an event (eventbus/raw.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Literal

import msgspec

from api.model import Source
from eventbus import dapr_events, raw
from eventbus.cloudevents import dedupe_id
from triggers.sources.source import uri
from triggers.sources.storing import Brought

Kind = Literal["event", "bridge", "dapr", "bytes"]


class Manner(msgspec.Struct, frozen=True):
    """Of one source."""

    kind: Kind
    uri: str
    """CloudEvents ``source`` of messages that are no events."""

    @property
    def trusted(self) -> bool:
        """Whether its messages may say what else only the platform does."""
        return self.kind in {"bridge", "dapr"}

    def plain(
        self,
        body: bytes,
        *,
        id: str,  # noqa: A002  # CloudEvents' own name
        type: str,  # noqa: A002  # CloudEvents' own name
        time: datetime,
        key: str = "",
        metadata: Mapping[str, str] = raw.NOTHING,
    ) -> Brought | None:
        """The event of a message that is taken as it stands; None: it is to be looked into as the broker's kind says.

        *id*: unique in the source.
        """
        if self.kind == "bytes":
            event = raw.wrap(body, id=id, source=self.uri, type=type, time=time, key=key, metadata=metadata)
            return Brought(event, key, dedupe_id(self.uri, id), id)
        sent = dapr_events.sent(body, id) if self.kind == "dapr" else None
        if sent is None:
            return None
        event, read = sent
        return Brought(event, read.partitionkey, dedupe_id(read.source, read.id), id)


def manner(source: Source, scheme: str, topic: str = "") -> Manner:
    """Of *source*, whose broker's addresses begin with *scheme*; *topic*: what it reads there."""
    binding = source.options.get("binding", "")
    if binding:
        return Manner("bytes", f"{scheme}://{binding}/{topic}")
    if source.options.get("bridge") != "true":
        return Manner("event", uri(source, scheme))
    dapr = source.options.get("dapr") == "true"
    return Manner("dapr" if dapr else "bridge", f"{scheme}://{source.bus.name.rpartition('/')[2]}/{topic}")
