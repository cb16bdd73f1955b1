"""How the records of one bus are written and read: by CloudEvents' rules, or as Dapr's component does; pure.

Dapr writes structured events without a content-type and the metadata of a publish as headers, and hands headers, key
and place of a record over as metadata (components-contrib, common/component/kafka). An event keeps its bytes: the key
stands in the record alone. What has no CloudEvent in it is an event by our own mapping (records.py), where Dapr fails.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import quote_plus

import msgspec

from eventbus import cloudevents, dapr_events, raw
from eventbus.bus import Incoming
from eventbus.cloudevents import Heading, Malformed
from eventbus.errors import Refused, TooLarge
from eventbus.kafka import names
from eventbus.kafka.batches import Found
from eventbus.kafka.records import DEDUPE, PLAIN_TYPE, Event, Record, Stored, key_text, to_event, to_record
from eventbus.kafka.topics import MAX_EVENT

KEYS = frozenset({"partitionkey", "__key"})
"""Metadata of a publish that say the record's key."""
PARTITION = "partitionnumber"
"""Metadata of a publish that says the partition."""
LEFT_OUT = frozenset({DEDUPE})
"""Headers of ours that nobody is told."""


class Writing(msgspec.Struct, frozen=True):
    """One record to be written; *partition* None: by its key."""

    record: Stored
    partition: int | None = None


class Dialect:
    """Of one bus."""

    def __init__(self, owner: str, options: Mapping[str, str]) -> None:
        """*owner* names the bus in the mapping of foreign records; raises Refused for an expression that is none."""
        self.owner = owner
        self._dapr = options.get("dapr") == "true"
        self._escape = options.get("escapeHeaders") == "true"
        self._largest = int(options.get("maxMessageBytes") or 0) or MAX_EVENT
        pattern = options.get("excludeHeaders", "")
        try:
            self._excluded = re.compile(pattern) if pattern else None
        except re.error as error:
            raise Refused(f"excludeHeaderMetaRegex is no regular expression: {error}") from error

    def writing(self, payload: bytes, read: Heading, key: str, dedupe: str, metadata: Mapping[str, str]) -> Writing:
        """The record of one event; raises TooLarge."""
        carried = self._dapr and raw.is_raw(payload)
        if not self._dapr:
            payload = cloudevents.with_key(payload, read, key)
        body = raw.content(payload) if carried else payload
        if len(body) > min(self._largest, MAX_EVENT):
            raise TooLarge(f"the event has {len(body)} bytes, the bus takes {min(self._largest, MAX_EVENT)}")
        if not self._dapr:
            return Writing(to_record(body, key=key or read.partitionkey, dedupe=dedupe))
        lower = {name.lower(): value for name, value in metadata.items()}
        key = key or next((lower[name] for name in KEYS if lower.get(name)), "") or read.partitionkey
        headers = [(name, value.encode()) for name, value in metadata.items() if self._told(name)]
        if dedupe:
            headers.append((DEDUPE, dedupe.encode()))
        number = lower.get(PARTITION, "")
        if number and not (number.isascii() and number.isdigit() and len(number) < 10):
            raise Refused(f"metadata partitionNumber is {number[:20]!r}, expected a number")
        return Writing(Stored(key.encode() or None, body, headers), int(number) if number else None)

    def incoming(self, share: int, found: Found, *, bytes_alone: bool = False) -> Incoming:
        """What an owner gets of one record; *bytes_alone*: the subscription wants them without any envelope."""
        record, flaw = found
        seq = record.offset + 1
        try:
            event = self.event(record, bytes_alone=bytes_alone) if not flaw else None
        except Malformed as error:
            event, flaw = None, error.message
        if event is None:
            return Incoming(share, seq, "", record.value or b"", record.timestamp, flaw)
        said = self.metadata(record) if self._dapr else raw.NOTHING
        return Incoming(share, seq, event.key, event.payload, record.timestamp, "", said)

    def event(self, record: Record, *, bytes_alone: bool = False) -> Event:
        """The event of one record; raises Malformed."""
        if bytes_alone and names.foreign(record.topic):
            return self._carried(record)
        sent = self._sent(record) if self._dapr else None
        return sent or to_event(record, self.owner)

    def _carried(self, record: Record) -> Event:
        key = key_text(record.key)
        payload = raw.wrap(
            record.value or b"",
            id=record.place,
            source=f"kafka://{self.owner}/{record.topic}",
            type=PLAIN_TYPE,
            time=datetime.fromtimestamp(max(record.timestamp, 0), UTC),
            key=key,
        )
        return Event(payload, key)

    @staticmethod
    def _sent(record: Record) -> Event | None:
        found = dapr_events.sent(record.value or b"", record.place)
        return Event(found[0], key_text(record.key) or found[1].partitionkey) if found else None

    def metadata(self, record: Record) -> Mapping[str, str]:
        """Where a record stands, its key and its headers, as Dapr names them."""
        found = {
            "__offset": str(record.offset),
            "__topic": record.topic,
            "__timestamp": str(round(record.timestamp * 1000)),
            "__partition": str(record.partition),
        }
        if record.key is not None:
            found["__key"] = self._shown(record.key)
        for name, value in record.headers:
            if name not in LEFT_OUT and self._told(name):
                found[name] = self._shown(value or b"")
        return found

    def _told(self, name: str) -> bool:
        return self._excluded is None or not self._excluded.search(name)

    def _shown(self, value: bytes) -> str:
        text = value.decode(errors="replace")
        return quote_plus(text) if self._escape else text
