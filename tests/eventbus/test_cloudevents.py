"""The codec answers what the CloudEvents SDK answers, and never touches data bytes."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from cloudevents.v1.http import from_http, from_json
from hypothesis import given
from hypothesis import strategies as st

from eventbus import cloudevents
from functions_framework.event import CloudEvent

BODIES = [
    pytest.param(b'{"celsius": 31.50, "big": 12345678901234567890}', "application/json", id="json"),
    pytest.param(b"plain \xc3\xa9", "text/plain; charset=utf-8", id="text"),
    pytest.param(b"\x00\xff\x01", "application/octet-stream", id="bytes"),
    pytest.param(b'"just a string"', "application/json", id="json string"),
]


@pytest.mark.parametrize(("body", "content_type"), BODIES)
def test_binary_mode_reads_as_the_sdk_reads_it(body: bytes, content_type: str) -> None:
    headers = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-mine": "x"}
    headers["content-type"] = content_type
    theirs = from_http(headers, body)
    ours = from_json(cloudevents.from_binary(headers, body))

    assert {name: ours[name] for name in theirs.get_attributes() if name != "time"} == {
        name: theirs[name] for name in theirs.get_attributes() if name != "time"
    }
    if content_type.startswith("text"):
        assert ours.data == body.decode()
    else:
        assert ours.data == theirs.data


def test_json_data_is_spliced_byte_for_byte() -> None:
    body = b'{"celsius": 31.50, "big": 12345678901234567890 }'

    assert body in cloudevents.encode(id="1", source="/s", type="t", body=body)


@given(st.binary())
def test_any_body_survives_the_sdk(body: bytes) -> None:
    payload = cloudevents.encode(id="1", source="/s", type="t", body=body, content_type="image/png")
    event = from_json(payload, data_unmarshaller=lambda data: data)  # its default reads any base64 as JSON

    assert event.data == body or (body == b"" and not event.data)


@given(st.binary())
def test_a_body_of_unknown_type_is_always_a_valid_event(body: bytes) -> None:
    payload = cloudevents.encode(id="1", source="/s", type="t", body=body)

    assert cloudevents.heading(payload).id == "1"
    assert CloudEvent.from_dict(json.loads(payload))["id"] == "1"


def test_percent_encoded_headers_are_decoded() -> None:
    headers = {"CE-SpecVersion": "1.0", "Ce-Id": "1", "ce-source": "/caf%C3%A9", "ce-type": "t"}

    assert cloudevents.heading(cloudevents.from_binary(headers, b"")).source == "/café"


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"[]", b"{", b"\xff\xfe", b'{"id":"","source":"s","type":"t","specversion":"1.0"}',
        b'{"id":1,"source":"s","type":"t","specversion":"1.0"}', b'{"id":"1","source":"s","type":"t"}',
        b'{"id":"1","source":"s","type":"t","specversion":"0.3"}',
    ],
)  # fmt: skip
def test_what_is_no_event_is_refused(payload: bytes) -> None:
    with pytest.raises(cloudevents.Malformed):
        cloudevents.heading(payload)


def test_missing_header_is_named() -> None:
    with pytest.raises(cloudevents.Malformed, match="lacks the attribute type"):
        cloudevents.from_binary({"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/s"}, b"")


def test_key_is_spliced_replaced_or_left() -> None:
    plain = b' {"specversion":"1.0","id":"1","source":"s","type":"t","data":{"a" : 1}}'
    keyed = cloudevents.with_key(plain, cloudevents.heading(plain), 'k"1')

    assert cloudevents.heading(keyed).partitionkey == 'k"1'
    assert keyed.endswith(b'"data":{"a" : 1}}')
    assert cloudevents.with_key(keyed, cloudevents.heading(keyed), 'k"1') is keyed
    assert cloudevents.ordering_key(cloudevents.with_key(keyed, cloudevents.heading(keyed), "k2")) == "k2"


def test_time_is_utc() -> None:
    payload = cloudevents.encode(id="1", source="s", type="t", time=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))

    assert json.loads(payload)["time"] == "2026-01-02T03:04:05Z"
