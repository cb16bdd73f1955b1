"""CloudEvents over HTTP: equal to the SDK for valid events, one line and the right status for bad ones."""

from __future__ import annotations

import json

import pytest
from cloudevents.v1.conversion import to_binary, to_structured
from cloudevents.v1.http import CloudEvent as SdkEvent
from cloudevents.v1.http import from_http
from hypothesis import given, settings
from hypothesis import strategies as st

from functions_framework.codec import BadEvent, decode, strict_json
from functions_framework.event import CloudEvent
from tests.functions_framework.harness import event, request, structured

names = st.text("abcdefghijklmnopqrstuvwxyz0123456789", min_size=1, max_size=12).filter(
    lambda n: (
        n not in {"data", "id", "source", "type", "specversion", "time", "subject", "datacontenttype", "dataschema"}
    )
)
words = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, blacklist_characters='%"'), min_size=1)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
).filter(lambda v: v is not None)
attributes = st.fixed_dictionaries(
    {"id": words, "source": st.just("/fleet/v-7?x=1"), "type": words},
    optional={"subject": words, "time": st.just("2026-01-31T12:00:00Z")},
)


def decoded(headers: dict[str, str], body: bytes) -> CloudEvent:
    found = decode([(k.lower().encode(), str(v).encode("latin-1")) for k, v in headers.items()], body)
    assert isinstance(found, CloudEvent)
    return found


def same(ours: CloudEvent, theirs: SdkEvent) -> None:
    assert dict(ours) == {name: value for name, value in theirs.get_attributes().items() if value is not None}
    alike(ours, theirs)


def alike(ours: CloudEvent, theirs: SdkEvent) -> None:
    """Compare data; the SDK takes empty values for none, which we keep."""
    assert ours.data == theirs.data or (theirs.data is None and not ours.data)


@settings(max_examples=40, deadline=None)
@given(attributes, st.dictionaries(names, words, max_size=4), values)
def test_structured_events_are_read_as_the_sdk_reads_them(required, extensions, data):
    made = SdkEvent({**extensions, **required, "datacontenttype": "application/json"}, data)
    headers, body = to_structured(made)

    same(decoded(headers, body), from_http(headers, body))


@settings(max_examples=40, deadline=None)
@given(attributes, st.dictionaries(names, words, max_size=4), values)
def test_binary_events_are_read_as_the_sdk_reads_them(required, extensions, data):
    made = SdkEvent({**extensions, **required, "datacontenttype": "application/json"}, data)
    headers, body = to_binary(made)

    theirs = from_http(headers, body)
    ours = decoded(headers, body)
    alike(ours, theirs)
    assert {n: v for n, v in ours.items() if n != "datacontenttype"} == {
        n: v for n, v in theirs.get_attributes().items() if n != "datacontenttype" and v is not None
    }


@settings(max_examples=40, deadline=None)
@given(attributes, values | st.binary(min_size=1))
def test_what_we_write_the_sdk_reads(required, data):
    ours = CloudEvent({**required}, data)
    body = json.dumps(ours.to_dict()).encode()

    plain = (lambda raw: raw) if isinstance(data, bytes) else None  # its default reads any base64 as JSON
    theirs = from_http({"content-type": "application/cloudevents+json"}, body, data_unmarshaller=plain)

    alike(ours, theirs)
    assert {n: v for n, v in theirs.get_attributes().items() if v is not None} == dict(ours)


def test_binary_data_travels_as_base64():
    found = decode(*_parts(structured(event(data_base64="AAH/"))))

    assert isinstance(found, CloudEvent)
    assert found.data == b"\x00\x01\xff"


def test_percent_encoded_and_quoted_headers_are_decoded():
    found = decoded({"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0",
                     "ce-subject": "caf%C3%A9 %22x%22", "ce-quoted": '"a \\"b\\""'}, b"")  # fmt: skip

    assert found["subject"] == 'café "x"'
    assert found["quoted"] == 'a "b"'


@pytest.mark.parametrize(
    ("content_type", "body", "data"),
    [
        ("application/json; charset=utf-8", b'{"a": 1}', {"a": 1}),
        ("application/vnd.x+json", b"[1]", [1]),
        ("application/json", b"{broken", b"{broken"),
        ("text/plain", b"12", "12"),
        ("application/octet-stream", b"\x00", b"\x00"),
        ("application/json", b"", None),
    ],
)
def test_data_follows_its_content_type(content_type, body, data):
    headers = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}

    found = decoded({**headers, "content-type": content_type}, body)

    assert found.data == data


GOOD = {"ce_id": "1", "ce_source": "/s", "ce_type": "t", "ce_specversion": "1.0"}

BINARY = [
    *[({name: None}, 400, f"lacks the attribute {name[3:]}") for name in GOOD],
    *[({"ce_specversion": v}, 400, "supported: 1.0") for v in ("0.3", "2.0", "1")],
    ({"ce_id": ""}, 400, "id is empty"),
    ({"ce_id": "x" * 100_000}, 400, "at most 4096"),
    ({"ce_id": "a%00b"}, 400, "control character"),
    ({"ce_source": "not a uri"}, 400, "URI reference"),
    ({"ce_type": ""}, 400, "type is empty"),
    *[
        ({"ce_time": v}, 400, "RFC 3339")
        for v in ("yesterday", "2016-12-31T23:59:60Z", "0000-01-01T00:00:00Z", "2026-01-01T00:00:00")
    ],
    ({"ce_my_": "x"}, 400, "attribute name"),
    ({"ce_data": "x"}, 400, "attribute name"),
    ({f"ce_x{n}": "1" for n in range(200)}, 431, "at most 100"),
    *[({"ce_subject": v}, 400, "percent-encoding") for v in ("%zz", "%C3%28", "caf\xc3\xa9", 'say "x"')],
]


@pytest.mark.parametrize(("change", "status", "said"), BINARY)
def test_bad_binary_events_are_refused_in_one_line(change, status, said):
    headers = {k: v for k, v in {**GOOD, **change}.items() if v is not None}
    if "ce_my_" in change:
        headers["ce_my_ext"] = headers.pop("ce_my_")
    made = [(k.replace("_", "-", 1).encode(), v.encode("latin-1")) for k, v in headers.items()]

    with pytest.raises(BadEvent) as caught:
        decode(made, b"")

    assert caught.value.status == status
    assert said in caught.value.reason
    assert "\n" not in caught.value.reason


def test_a_long_extension_name_is_taken():
    assert decoded({**{k.replace("_", "-"): v for k, v in GOOD.items()}, "ce-" + "x" * 30: "1"}, b"")["x" * 30] == "1"


def test_doubled_headers_are_refused():
    twice = [(b"ce-specversion", b"1.0"), (b"ce-specversion", b"1.0")]

    with pytest.raises(BadEvent, match="two headers ce-specversion"):
        decode(twice, b"")


def body(**change: object) -> str:
    return json.dumps({k: v for k, v in event(**change).items() if v is not None})


STRUCTURED = [
    ("[]", 400, "JSON object"),
    ("3", 400, "JSON object"),
    ('{"id": "1",}', 400, "offset"),
    ('{"id": NaN}', 400, "no NaN at offset 7"),
    ('{"id": 1e999}', 400, "out of range at offset 7"),
    ('{"id": "1", "id": "2"}', 400, "'id' twice at offset 12"),
    ('{"id": "\\ud800"}', 400, "surrogate at offset 7"),
    ("[" * 100_000, 400, "nested deeper than 128 levels at offset 128"),
    ("\xff", 400, "not UTF-8 at offset 0"),
    (body(id=1), 400, "id must be a string"),
    (body(source=None), 400, "lacks the attribute source"),
    (body(time=3), 400, "time must be a string"),
    (body(data={}, data_base64="AA=="), 400, "both data and data_base64"),
    (body(data_base64="A*"), 400, "not base64"),
    (body(nested={"a": 1}), 400, "nested must be a string"),
    (body(specversion="0.3"), 400, "supported: 1.0"),
]


@pytest.mark.parametrize(("text", "status", "said"), STRUCTURED)
def test_bad_structured_events_are_refused_in_one_line(text, status, said):
    raw = text.encode("latin-1")

    with pytest.raises(BadEvent) as caught:
        decode([(b"content-type", b"application/cloudevents+json")], raw)

    assert (caught.value.status, said in caught.value.reason) == (status, True), caught.value.reason


@pytest.mark.parametrize(
    ("content_types", "status", "said"),
    [
        (["application/cloudevents+xml"], 415, "not supported"),
        ([], 415, "no CloudEvent"),
        (["application/cloudevents+json; charset=utf-16"], 415, "charset"),
        (["application/cloudevents+json", "application/json"], 415, "two content-type"),
    ],
)
def test_other_formats_are_refused(content_types, status, said):
    with pytest.raises(BadEvent, match=said) as caught:
        decode([(b"content-type", c.encode()) for c in content_types], body().encode())

    assert caught.value.status == status


def test_headers_that_contradict_a_structured_body_are_refused():
    with pytest.raises(BadEvent, match="ambiguous"):
        decode(*_parts(structured(event(), ce_id="other")))

    assert decode(*_parts(structured(event(), ce_id="1")))


@pytest.mark.parametrize(
    ("members", "status", "said"),
    [
        ([event(), {"id": "2"}, event()], 400, "index 1: "),
        ([event()] * 10_000, 413, "10000 events"),
    ],
)
def test_a_bad_batch_is_refused_whole(members, status, said):
    with pytest.raises(BadEvent, match=said) as caught:
        decode(*_parts(structured(members)))

    assert caught.value.status == status


def test_a_batch_may_be_empty_but_must_be_a_list():
    assert decode(*_parts(structured([]))) == []
    with pytest.raises(BadEvent, match="JSON array"):
        decode(*_parts(request(body={}, content_type="application/cloudevents-batch+json")))


TOKENS = st.sampled_from(
    ["{", "}", "[", "]", '"a"', '"b":', ":", ",", "1", "-0.5", "1e5", "1e999", "NaN", "-Infinity", "null", "true", " ",
     '"\\ud800"', '"\\ud83d\\ude00"', '"\\""', '"\\x"', '"\\\\"', '"a":1,', "9" * 5000, "\x01", '"']
)  # fmt: skip


@given(st.text() | st.lists(TOKENS, max_size=12).map("".join))
def test_strict_json_refuses_or_agrees_with_the_standard_library(text):
    try:
        found = strict_json(text.encode("utf-8", "surrogatepass"))
    except BadEvent:
        return
    assert found == json.loads(text)


def _parts(made):
    return made.headers, made.body
