"""Every kind of record is one event or says why it is none, and what we write reads back as it was."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cloudevents.v1.kafka import KafkaMessage, from_binary
from hypothesis import given
from hypothesis import strategies as st

from eventbus import cloudevents
from eventbus.cloudevents import Malformed
from eventbus.kafka.records import Headers, Record, dedupe_of, to_event, to_record

CE = (("ce_specversion", b"1.0"), ("ce_id", b"7"), ("ce_source", b"/s"), ("ce_type", b"t"))
STRUCTURED = ("content-type", b"application/cloudevents+json; charset=UTF-8")


def record(value: bytes | None = b"{}", headers: Headers = (), key: bytes | None = None, at: float = 1.5) -> Record:
    return Record("orders", 2, 41, key, value, headers, at)


def read(given_: Record) -> dict[str, Any]:
    event = to_event(given_, "shop")
    found: dict[str, Any] = json.loads(event.payload)
    assert found.get("partitionkey", "") == event.key
    return found


@given(key=st.text(max_size=20), body=st.binary(max_size=50))
def test_what_we_write_reads_back_as_it_was(key: str, body: bytes) -> None:
    payload = cloudevents.encode(
        id="1", source="/s", type="t", body=body, extensions={"partitionkey": key} if key else None
    )
    stored = to_record(payload, key=key, dedupe="d")
    back = Record("orders", 0, 0, stored.key, stored.value, stored.headers, 0)

    assert to_event(back, "shop") == (payload, key)
    assert dedupe_of(back) == "d"
    assert (stored.key is None) == (key == "")


def test_a_structured_event_takes_the_key_of_its_record() -> None:
    payload = cloudevents.encode(id="1", source="/s", type="t", body=b"{}")

    assert read(record(payload, [STRUCTURED], key=b"k"))["partitionkey"] == "k"
    keyed = cloudevents.encode(id="1", source="/s", type="t", extensions={"partitionkey": "own"})
    assert read(record(keyed, [STRUCTURED], key=b"k"))["partitionkey"] == "own"


@pytest.mark.parametrize(
    ("value", "content_type"),
    [(b'{"a": 1}', b"application/json"), (b"\x00\xff", b"application/octet-stream"), (b"plain", b"text/plain")],
)
def test_binary_mode_reads_as_the_sdk_reads_it(value: bytes, content_type: bytes) -> None:
    headers = [*CE, ("ce_mine", "ü".encode()), ("content-type", content_type), ("other", b"\xff")]
    ours = read(record(value, headers, key=b"k"))
    theirs = from_binary(
        KafkaMessage(headers=dict(headers[:-1]), key="k", value=value), data_unmarshaller=lambda data: data
    )

    attributes = theirs.get_attributes()
    assert {name: ours[name] for name in attributes if name != "time"} == {
        name: value for name, value in attributes.items() if name != "time"
    }
    assert ours["mine"] == "ü"


def test_binary_mode_without_a_value_is_an_event_without_data() -> None:
    found = read(record(None, CE))

    assert "data" not in found
    assert "data_base64" not in found
    assert found["id"] == "7"


def test_any_other_record_becomes_an_event_by_our_mapping() -> None:
    assert read(record(b'{"n": 1}', [("trace", b"x")], key=b"k")) == {
        "specversion": "1.0",
        "id": "orders-2-41",
        "source": "kafka://shop/orders",
        "type": "io.evoke.kafka.record",
        "time": "1970-01-01T00:00:01.500000Z",
        "partitionkey": "k",
        "datacontenttype": "application/json",
        "data": {"n": 1},
    }


def test_keys_are_text_or_hexadecimal_or_none() -> None:
    assert to_event(record(key=None), "shop").key == ""
    assert to_event(record(key=b""), "shop").key == ""
    assert to_event(record(key="ü".encode()), "shop").key == "ü"
    assert to_event(record(key=b"\xff\x00"), "shop").key == "ff00"


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (record(None), "tombstone"),
        (record(None, [STRUCTURED]), "tombstone"),
        (record(b"{}", [STRUCTURED]), "lacks the attribute id"),
        (record(b"\x00", [STRUCTURED]), "not JSON"),
        (record(b'{"specversion":"0.3","id":"1","source":"/s","type":"t"}', [STRUCTURED]), "specversion"),
        (record(b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":"\xff"}', [STRUCTURED]), "UTF-8"),
        (record(b"[]", [("content-type", b"application/cloudevents-batch+json")]), "is not read"),
        (record(b"", [("content-type", b"application/cloudevents+avro")]), "is not read"),
        (record(b"{}", [STRUCTURED, STRUCTURED]), "2 times"),
        (record(b"{}", [("content-type", b"\xff")]), "not UTF-8"),
        (record(b"{}", [*CE, ("ce_id", b"8")]), "ce_id stands there 2 times"),
        (record(b"{}", [*CE, ("CE_ID", b"8")]), "ce_id stands there 2 times"),
        (record(b"{}", [*CE, ("ce_mine", b"\xff")]), "ce_mine is not UTF-8"),
        (record(b"{}", [*CE, ("ce_my-ext", b"x")]), "names no attribute"),
        (record(b"{}", [*CE, ("ce_data", b"x")]), "names no attribute"),
        (record(b"{}", CE[1:]), "ce_specversion is missing"),
        (record(b"{}", [("ce_specversion", b"2.0"), *CE[1:]]), "specversion"),
        (record(b"{}", [*CE[:1], ("ce_id", b""), *CE[2:]]), "ce_id is missing"),
    ],
)
def test_what_is_no_event_says_where_and_why(bad: Record, why: str) -> None:
    with pytest.raises(Malformed, match=r"record orders-2-41: ") as caught:
        to_event(bad, "shop")

    assert why in str(caught.value)


@given(
    value=st.none() | st.binary(max_size=30),
    headers=st.lists(
        st.tuples(
            st.sampled_from(["content-type", "ce_id", "ce_type", "ce_source", "ce_specversion", "ce_x", "x"]),
            st.none() | st.binary(max_size=5) | st.sampled_from([b"1.0", STRUCTURED[1]]),
        ),
        max_size=7,
    ),
    key=st.none() | st.binary(max_size=5),
)
def test_no_record_breaks_the_reader(value: bytes | None, headers: Headers, key: bytes | None) -> None:
    try:
        event = to_event(record(value, headers, key), "shop")
    except Malformed:
        return
    cloudevents.heading(event.payload)
