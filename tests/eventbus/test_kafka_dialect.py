"""Records of a Dapr component: what Dapr writes is read as the event it is, and what is written is what Dapr writes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from eventbus import cloudevents, raw
from eventbus.errors import Refused, TooLarge
from eventbus.kafka.batches import Found
from eventbus.kafka.dialect import Dialect
from eventbus.kafka.records import Headers, Record

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAPR = Dialect("bus", {"dapr": "true"})
OURS = Dialect("bus", {})
EVENT = (
    b'{"data":{"n":1.10},"datacontenttype":"application/json","id":"7","pubsubname":"bus","source":"shop",'
    b'"specversion":"1.0","time":"2026-11-21T10:00:00Z","topic":"orders","traceid":"","type":"com.dapr.event.sent"}'
)


def found(value: bytes | None, headers: Headers = (), key: bytes | None = None) -> Found:
    return Found(Record("orders", 2, 41, key, value, headers, 1.5), "")


def test_an_event_without_a_content_type_is_one_on_the_bus_of_a_component_only() -> None:
    theirs, ours = DAPR.incoming(2, found(EVENT, key=b"k")), OURS.incoming(2, found(EVENT))

    assert (theirs.payload, theirs.key, theirs.flaw) == (EVENT, "k", "")
    assert json.loads(ours.payload)["type"] == "io.evoke.kafka.record"
    assert ours.metadata == {}


@pytest.mark.parametrize("missing", ["id", "source", "type"])
def test_an_event_that_lacks_what_dapr_lets_publishers_leave_out_is_filled(missing: str) -> None:
    members = {name: value for name, value in json.loads(EVENT).items() if name != missing}

    event = json.loads(DAPR.incoming(2, found(json.dumps(members).encode())).payload)

    assert event[missing] == {"id": "orders-2-41", "source": "Dapr", "type": "com.dapr.event.sent"}[missing]
    assert event["data"] == {"n": 1.1}


@pytest.mark.parametrize("value", [b'{"specversion"', b'["specversion"]', b"no", b'{"specversion":"0.3","id":1}'])
def test_what_is_no_event_is_one_by_our_mapping(value: bytes) -> None:
    got = DAPR.incoming(2, found(value))

    assert got.flaw == ""
    assert json.loads(got.payload)["type"] == "io.evoke.kafka.record"
    assert raw.content(got.payload) == value


def test_a_record_says_where_it_stood_and_what_its_headers_are() -> None:
    headers = [("who", b"me"), ("evoke-dedupe", b"x"), ("odd", b"\xff"), ("x-internal", b"1")]
    one = found(EVENT, headers, key=b"a b")

    assert DAPR.incoming(2, one).metadata == {
        "__key": "a b",
        "__offset": "41",
        "__partition": "2",
        "__timestamp": "1500",
        "__topic": "orders",
        "odd": "�",
        "who": "me",
        "x-internal": "1",
    }
    strict = Dialect("bus", {"dapr": "true", "escapeHeaders": "true", "excludeHeaders": "^x-|odd"})
    assert strict.incoming(2, one).metadata["__key"] == "a+b"
    assert strict.incoming(2, one).metadata.keys() & {"x-internal", "odd"} == set()


@pytest.mark.parametrize("value", [EVENT, b"\x00\xff", b"", None, b'"text"'])
def test_who_wants_bytes_alone_gets_those_of_the_record(value: bytes | None) -> None:
    got = DAPR.incoming(2, found(value, key=b"k"), bytes_alone=True)

    assert raw.content(got.payload) == (value or b"")
    assert got.key == "k"
    assert cloudevents.heading(got.payload).id == "orders-2-41"


def test_a_publish_is_written_as_dapr_writes_it() -> None:
    read = cloudevents.heading(EVENT)
    metadata = {"partitionKey": "k", "who": "ü", "x-internal": "1"}

    stored = Dialect("bus", {"dapr": "true", "excludeHeaders": "^x-"}).writing(EVENT, read, "", "d", metadata).record

    assert (stored.key, stored.value) == (b"k", EVENT)
    assert stored.headers == [("partitionKey", b"k"), ("who", "ü".encode()), ("evoke-dedupe", b"d")]
    assert DAPR.writing(EVENT, read, "", "", {"__key": "z"}).record.key == b"z"
    assert DAPR.writing(EVENT, read, "own", "", {"__key": "z"}).record.key == b"own"
    assert OURS.writing(EVENT, read, "", "", metadata).record.headers == [
        ("content-type", b"application/cloudevents+json")
    ]


def test_raw_bytes_reach_the_topic_alone() -> None:
    carrier = raw.wrap(b"\x00 {", id="1", source="/a", type="t", time=NOW)
    read = cloudevents.heading(carrier)

    assert DAPR.writing(carrier, read, "", "", {}).record == (None, b"\x00 {", [])
    assert raw.is_raw(OURS.writing(carrier, read, "", "", {}).record.value or b"")


def test_what_a_publish_may_not_ask_is_refused() -> None:
    read = cloudevents.heading(EVENT)

    assert DAPR.writing(EVENT, read, "", "", {"partitionNumber": "3"}).partition == 3
    with pytest.raises(Refused, match="partitionNumber"):
        DAPR.writing(EVENT, read, "", "", {"partitionNumber": "-1"})
    with pytest.raises(TooLarge):
        Dialect("bus", {"dapr": "true", "maxMessageBytes": "100"}).writing(EVENT, read, "", "", {})
    with pytest.raises(Refused, match="regular expression"):
        Dialect("bus", {"excludeHeaders": "("})
