"""A mold makes what wrap() means."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from uuid import UUID

import pytest

from eventbus.cloudevents import heading
from proxy.envelope import Message, wrap
from proxy.molds import Mold, molded

NOW = datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)
TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def message(body: bytes = b"", content_type: str = "application/json", **metadata: str) -> Message:
    return Message(
        body=body, content_type=content_type, metadata=metadata, source="shop", topic='t","data":""', pubsub="p",
        traceparent=TRACE, tracestate="a=b",
    )  # fmt: skip


@pytest.mark.parametrize(
    "content_type",
    ["application/json", "application/x+json; charset=utf-8", "text/plain", "application/octet-stream", "foo/bar", ""],
)
@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b'{"n": 1.50}', b"no json", b"\xff\x00", '"tëxt"'.encode(), b'{"data":"","id":"x"}', b"[" * 5000],
)
def test_equal_but_for_the_id(content_type: str, body: bytes) -> None:
    one = message(body, content_type or "text/plain", partitionkey="k")
    id_, made = Mold(message(b"other", one.content_type), NOW).event(body)
    wanted = json.loads(wrap(one, NOW))
    found = json.loads(made)
    assert found["id"] == id_
    assert UUID(id_).version == 4
    assert (heading(made).id, heading(made).source) == (id_, "shop")
    assert {name: found[name] for name in wanted if name != "id"} == {n: wanted[n] for n in wanted if n != "id"}
    assert list(found) == list(json.loads(wrap(message(b"{}", one.content_type), NOW)))


@pytest.mark.parametrize(
    ("one", "want"),
    [
        (message(), True),
        (message(partitionkey="k", other="x"), True),
        (message(rawpayload="true"), False),
        (message(ttlinseconds="5"), False),
        (message(**{"cloudevent.id": "5"}), False),
        (message(content_type="application/cloudevents+json; charset=utf-8"), False),
    ],
)
def test_what_needs_an_envelope_of_its_own(one: Message, *, want: bool) -> None:
    assert molded(one) is want
