"""Bytes without an envelope on a bus of events: what goes in comes out."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from eventbus import cloudevents, raw

NOW = datetime(2026, 11, 21, tzinfo=UTC)
BODIES = [b"", b"\x00\xff", b"text", b' {"a": 1}\n', b'"quoted"', json.dumps({"specversion": "1.0"}).encode()]


def carried(body: bytes, **more: object) -> bytes:
    return raw.wrap(body, id="1", source="/a", type="t", time=NOW, **more)  # type: ignore[arg-type]  # the test's own


@pytest.mark.parametrize("body", BODIES)
def test_bytes_are_carried_as_they_are(body: bytes) -> None:
    payload = carried(body)

    assert raw.content(payload) == body
    assert raw.is_raw(payload)
    assert cloudevents.checked(payload).id == "1"


def test_what_stands_beside_the_bytes_comes_along() -> None:
    payload = carried(b"x", key="k", metadata={"__key": "k", "naïve": "ü"})

    assert raw.metadata(payload) == {"__key": "k", "naïve": "ü"}
    assert cloudevents.heading(payload).partitionkey == "k"
    assert raw.metadata(carried(b"x")) == {}


def test_an_event_is_its_own_message() -> None:
    event = b' {"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"evokeraw":true}}'

    assert raw.content(event) == event
    assert not raw.is_raw(event)
    assert raw.metadata(event) == {}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b'{"a":1.10}', None),
        (b' {"data":1}\n', None),
        (b"\t7 ", "application/json"),
        (b"  ", None),
        (b"warm", None),
        (b'"warm"', "application/json"),
        (b"\xff\x00", None),
        (b"<a/>", "text/xml"),
    ],
)
def test_a_foreign_message_is_what_its_event_was_made_of(body: bytes, content_type: str | None) -> None:
    event = cloudevents.encode(
        id="1", source="/a", type="io.evoke.mqtt.message", body=body, content_type=content_type, time=NOW
    )

    assert raw.content(event) == body
    assert not raw.is_raw(event)


@pytest.mark.parametrize("payload", [b"", b"{", b"evokeraw evokemetadata", b'{"type":1}'])
def test_what_is_no_event_is_passed_on(payload: bytes) -> None:
    assert raw.content(payload) == payload
    assert not raw.is_raw(payload)
    assert raw.metadata(payload) == {}
