"""What comes in from a broker is never refused by it: whatever it is, a valid event stands on the bus in its place."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from eventbus import cloudevents
from eventbus.kafka.records import Record
from functions_framework.event import CloudEvent
from tests.bad_input.corpus import BODIES, STRUCTURED, event
from triggers.sources import kafka_events, mqtt_events, nats_events, redis_entries
from triggers.sources.mqtt_events import Properties
from triggers.sources.redis_entries import Entry

NOW = datetime(2026, 1, 2, tzinfo=UTC)
Convert = Callable[[bytes, str], bytes]
"""Payload and content type -> the event that is published."""


def _mqtt(payload: bytes, media: str) -> bytes:
    said = Properties(content_type=media)
    return mqtt_events.convert("a/b", payload, said, source="mqtt://s/e", id="i", now=NOW).payload


def _nats(payload: bytes, media: str) -> bytes:
    headers = {"Content-Type": media} if media else {}
    return nats_events.convert("a.b", payload, headers, source="nats://s/e", id="i", time=NOW).payload


def _kafka(payload: bytes, media: str) -> bytes:
    headers = [("content-type", media.encode())] if media else []
    record = Record("orders", 0, 7, None, payload, headers, 0.0)
    return kafka_events.brought((record, ""), "s.e").payload  # type: ignore[arg-type]  # a Found is such a pair


def _redis(payload: bytes, media: str) -> bytes:
    fields = {b"data": payload, **({b"content-type": media.encode()} if media else {})}
    return redis_entries.to_event(Entry("1-1", fields), source="redis://s/e", stream="t").payload


CONVERT: dict[str, Convert] = {"mqtt": _mqtt, "nats": _nats, "kafka": _kafka, "redis": _redis}
PAYLOADS = {
    **{name: row.body for name, row in BODIES.items() if "doubled" not in name},  # as data every reader takes the last
    "nothing": b"",
    "nested": b"[" * 100_000,
    "nested and closed": b"[" * 100_000 + b"]" * 100_000,
    "NaN": b"NaN",
    "1e999": b"1e999",
    "not UTF-8": b"\xff\xfe",
    "reserved type": json.dumps(event(type="io.evoke.cron.tick")).encode(),
    "reserved attribute": json.dumps(event(evokehops=0)).encode(),
}


@pytest.mark.parametrize("media", ["", STRUCTURED, "application/json", "text/plain", "not a media type"])
@pytest.mark.parametrize("convert", CONVERT.values(), ids=CONVERT.keys())
def test_a_message_becomes_a_valid_event(convert: Convert, media: str) -> None:
    for name, payload in PAYLOADS.items():
        if convert is _kafka and not payload:
            continue
        made = convert(payload, media)

        assert cloudevents.checked(made).id, name
        read = CloudEvent.from_dict(json.loads(made))
        assert "evokehops" not in read, name
        assert read["type"].startswith("io.evoke."), (name, "an event that does not hold keeps nothing of its own")


@pytest.mark.parametrize("convert", CONVERT.values(), ids=CONVERT.keys())
def test_a_good_event_stays_what_it_is(convert: Convert) -> None:
    payload = json.dumps(event()).encode()

    assert CloudEvent.from_dict(json.loads(convert(payload, STRUCTURED)))["source"] == "/s"
