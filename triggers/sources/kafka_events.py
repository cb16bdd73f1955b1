"""Records of a foreign Kafka topic as what a source brings; pure. The mapping itself is eventbus/kafka/records.py.

Every record moves on. A tombstone is an event of type ``io.evoke.kafka.tombstone`` without data. A record that
announces a CloudEvent and holds none, or one that speaks for the platform, and a batch that cannot be unpacked, are
events of type ``io.evoke.source.rejected``: the value as bytes, and ``evokeerror`` with the reason.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from eventbus import cloudevents
from eventbus.cloudevents import Malformed, Spoofed, dedupe_id
from eventbus.kafka.batches import Found
from eventbus.kafka.dialect import Dialect
from eventbus.kafka.records import PLAIN_TYPE, Record, dedupe_of, key_text, to_event
from triggers.sources.manners import Manner
from triggers.sources.storing import REJECTED_TYPE, Brought

TOMBSTONE_TYPE = "io.evoke.kafka.tombstone"
_EPOCH = datetime.fromtimestamp(0, UTC)


def kafka_event(manner: Manner, dialect: Dialect, found: Found) -> Brought:
    """The event of one record of a source of that manner."""
    record, flaw = found
    if manner.kind != "bytes" or flaw:
        return brought(found, dialect.owner)
    time = _EPOCH + timedelta(seconds=max(record.timestamp, 0))
    plain = manner.plain(
        record.value or b"",
        id=record.place,
        type=PLAIN_TYPE,
        time=time,
        key=key_text(record.key),
        metadata=dialect.metadata(record),
    )
    assert plain is not None  # bytes are always taken as they stand
    return plain


def brought(found: Found, owner: str) -> Brought:
    """The event of one record; *owner* names the event source in ``kafka://<owner>/<topic>``."""
    record, flaw = found
    if not flaw and record.value is not None:
        try:
            event = to_event(record, owner)
            announced = _announced(record)
            read = (
                cloudevents.checked(event.payload, outsider=True) if announced else cloudevents.heading(event.payload)
            )
        except (Malformed, Spoofed) as error:
            flaw = error.message
        else:
            dedupe = dedupe_of(record) or dedupe_id(read.source, read.id)
            return Brought(event.payload, event.key, dedupe, record.place)
    return _own(record, owner, flaw)


def _announced(record: Record) -> bool:
    """Whether the record says that it is a CloudEvent, so that what it holds is not our own mapping of it."""
    return any(
        name.lower().startswith("ce_")
        or (name.lower() == "content-type" and (value or b"").lower().startswith(b"application/cloudevents"))
        for name, value in record.headers
    )


def _own(record: Record, owner: str, flaw: str) -> Brought:
    source, key = f"kafka://{owner}/{record.topic}", key_text(record.key)
    extensions = {"evokeerror": flaw[:1000]} if flaw else {}
    payload = cloudevents.encode(
        id=record.place,
        source=source,
        type=REJECTED_TYPE if flaw else TOMBSTONE_TYPE,
        body=record.value,
        content_type="application/octet-stream" if record.value is not None else None,
        time=_EPOCH + timedelta(seconds=record.timestamp) if record.timestamp > 0 else None,
        extensions={**extensions, **({"partitionkey": key} if key else {})},
    )
    return Brought(payload, key, dedupe_id(source, record.place), record.place)
