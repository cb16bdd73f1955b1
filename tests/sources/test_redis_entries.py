"""Entries of a Redis stream as events."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from eventbus.cloudevents import dedupe_id
from triggers.sources.redis_entries import Entry, to_event

URI = "redis://shop/orders"
CE = b'{"specversion":"1.0","id":"7","source":"/s","type":"t","partitionkey":"k","data":1}'


def event(fields: dict[bytes, bytes], id_: str = "1795262400000-3") -> tuple[dict[str, Any], str, str]:
    found = to_event(Entry(id_, fields), source=URI, stream="orders")
    return msgspec.json.decode(found.payload), found.key, found.dedupe


def test_any_entry_becomes_an_event() -> None:
    members, key, dedupe = event({b"order": b"7", b"raw": b"\xff"})
    assert members == {
        "specversion": "1.0",
        "id": "1795262400000-3",
        "source": URI,
        "type": "io.evoke.redis.entry",
        "subject": "orders",
        "time": "2026-11-21T12:00:00Z",
        "datacontenttype": "application/json",
        "data": {"order": "7", "raw_base64": "/w=="},
    }
    assert (key, dedupe) == ("", dedupe_id(URI, "1795262400000-3"))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({b"data": b'{"a":1}'}, {"datacontenttype": "application/json", "data": {"a": 1}}),
        ({b"data": b"hello"}, {"datacontenttype": "text/plain", "data": "hello"}),
        ({b"data": b"<a/>", b"content-type": b"text/xml"}, {"datacontenttype": "text/xml", "data": "<a/>"}),
        ({b"data": b"\xff"}, {"data_base64": "/w=="}),
        ({b"data": b""}, {"datacontenttype": "text/plain", "data": ""}),
        (
            {b"data": b"x", b"other": b"y"},
            {"datacontenttype": "application/json", "data": {"data": "x", "other": "y"}},
        ),
    ],
)
def test_the_data_of_an_entry(fields: dict[bytes, bytes], expected: dict[str, Any]) -> None:
    members, _, _ = event(fields)
    assert {name: members[name] for name in members if name.startswith("data")} == expected


def test_a_field_is_the_ordering_key() -> None:
    members, key, _ = event({b"data": b"x", b"partitionkey": b"k7"})
    assert (members["partitionkey"], key, members["data"]) == ("k7", "k7", "x")


def test_dapr_s_publishers_write_structured_events() -> None:
    members, key, dedupe = event({b"data": CE, b"metadata": b"{}"})
    assert (members["id"], key, dedupe) == ("7", "k", dedupe_id("/s", "7"))


def test_attributes_as_fields() -> None:
    fields = {
        b"specversion": b"1.0",
        b"id": b"7",
        b"source": b"/s",
        b"type": b"t",
        b"subject": b"a",
        b"data": b'{"b":1}',
    }
    members, _, dedupe = event(fields)
    assert members == {
        "specversion": "1.0",
        "id": "7",
        "source": "/s",
        "type": "t",
        "subject": "a",
        "datacontenttype": "application/json",
        "data": {"b": 1},
    }
    assert dedupe == dedupe_id("/s", "7")


@pytest.mark.parametrize(
    "fields",
    [
        {b"data": CE.replace(b'"1.0"', b'"0.3"')},
        {b"data": CE.replace(b'"id":"7",', b"")},
        {b"data": CE[:-1]},
        {b"data": CE.replace(b'"t"', b'"io.evoke.cron.tick"')},
        {b"data": CE[:-1] + b',"evokehops":0}'},
        {b"specversion": b"2.0", b"id": b"7", b"source": b"/s", b"type": b"t"},
        {b"specversion": b"1.0", b"id": b"", b"source": b"/s", b"type": b"t"},
        {b"specversion": b"1.0", b"id": b"7", b"source": b"/s", b"type": b"\xff"},
        {b"specversion": b"1.0", b"id": b"7", b"source": b"/s", b"type": b"t", b"My-Ext": b"1"},
        {b"specversion": b"1.0", b"id": b"7", b"source": b"/s", b"type": b"t", b"evokehops": b"0"},
    ],
)
def test_what_is_not_quite_a_cloudevent_is_an_entry(fields: dict[bytes, bytes]) -> None:
    members, _, _ = event(fields)
    assert (members["type"], members["id"]) == ("io.evoke.redis.entry", "1795262400000-3")


@pytest.mark.parametrize("id_", ["0-1", "18446744073709551615-1"])
def test_ids_that_are_no_time(id_: str) -> None:
    members, _, _ = event({b"a": b"b"}, id_)
    assert members["time"].startswith("20")
