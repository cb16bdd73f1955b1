"""Where in an app an event goes, and what becomes of it when nowhere."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.model import Rule
from eventbus import raw
from proxy.forms import shown, topic_of, trace_headers
from proxy.outcomes import Outcome
from proxy.routing import UNMATCHED, Routing
from tests.proxy.plant import event, subscription

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def carried(body: bytes, **metadata: str) -> bytes:
    return raw.wrap(body, id="m-1", source="/app", type="t", time=NOW, metadata=metadata)


def routed(match: str, payload: bytes, *, unmatched: bool = True) -> str | Outcome:
    return Routing(subscription(rules=(Rule(match=match, path="/hit"),), path="/rest", unmatched=unmatched)).of(payload)


@pytest.mark.parametrize(
    "match",
    [
        'event.type == "t"',
        'event["type"] == "t"',
        "event.data.n > 6",
        'has(event.data.city) && event.data.city.startsWith("Gr")',
        "size(event.data.tags) == 2",
        'event.id.matches("^7$")',
        'event.custom == "x"',
        "!has(event.subject)",
        'event.type == "t" || event.data.absent == 1',
        "",
    ],
)
def test_rules_see_the_whole_event(match: str) -> None:
    payload = json.dumps({**json.loads(event(7, city="Graz", tags=[1, 2])), "custom": "x"}).encode()

    assert routed(match, payload) == "/hit"


def test_the_first_rule_that_matches_wins() -> None:
    rules = (
        Rule(match="event.data.n > 100", path="/large"),
        Rule(match="event.data.n > 10", path="/medium"),
        Rule(match="event.data.n > 1", path="/small"),
    )
    routing = Routing(subscription(rules=rules, path="/rest"))

    assert [routing.of(event(n)) for n in (500, 50, 5, 0)] == ["/large", "/medium", "/small", "/rest"]


def test_without_a_default_what_no_rule_matches_is_unmatched() -> None:
    assert routed("event.data.n > 100", event(1)) == UNMATCHED
    assert routed("event.data.n > 100", event(1), unmatched=False) == "/rest"


@pytest.mark.parametrize(
    ("match", "reason"),
    [
        ("event.data.absent > 1", "neither true nor false"),
        ("event.data.n", "neither true nor false"),
        ("event.data.n + 1", "neither true nor false"),
        ("event.data.n >", "E125"),
        ("nonsense == 1", "E125"),
        ("x" * 5000, "E126"),
    ],
)
def test_a_rule_that_tells_nothing_ends_the_event_with_its_reason(match: str, reason: str) -> None:
    found = routed(match, event(1), unmatched=False)

    assert isinstance(found, Outcome)
    assert found.kind == "unroutable"
    assert reason in found.error
    assert len(found.error) < 400


def test_what_is_no_event_is_malformed() -> None:
    found = routed("event.data.n > 1", b"[]")

    assert isinstance(found, Outcome)
    assert found.kind == "malformed"


def test_without_rules_nothing_is_read() -> None:
    assert Routing(subscription(path="/all")).of(b"no event at all") == "/all"
    assert Routing(subscription(path="/all")).ends(b"no event at all") is None


def test_the_envelope_of_raw_bytes_is_the_same_for_each_delivery() -> None:
    sub = subscription(form="raw")
    one = shown(sub, carried(b"\x00\x01"))

    assert one == shown(sub, carried(b"\x00\x01"))
    assert json.loads(one) == {
        "id": "m-1",
        "specversion": "1.0",
        "datacontenttype": "application/octet-stream",
        "source": "Dapr",
        "type": "com.dapr.event.sent",
        "topic": "default.fleet.telemetry",
        "pubsubname": "default",
        "data_base64": "AAE=",
    }


def test_a_raw_subscription_gets_the_whole_of_an_event() -> None:
    assert base64.b64decode(json.loads(shown(subscription(form="raw"), event(1)))["data_base64"]) == event(1)


def test_an_event_that_was_published_raw_is_an_event_to_others() -> None:
    assert shown(subscription(), carried(event(1))) == event(1)
    assert shown(subscription(), carried(b"bytes")) == carried(b"bytes")


@pytest.mark.parametrize(
    ("filter", "members", "metadata", "want"),
    [
        ("plants/1", {"topic": "other"}, {}, "plants/1"),
        ("plants/+", {"topic": "plants/7"}, {}, "plants/7"),
        ("plants/#", {"topic": "plants/7"}, {"topic": "plants/8"}, "plants/8"),
        ("plants.*", {}, {"__topic": "plants.9"}, "plants.9"),
        ("plants/+", {"type": "io.evoke.mqtt.message", "subject": "plants/5", "topic": "no"}, {}, "plants/5"),
        ("plants/+", {"topic": 7}, {}, "plants/+"),
        ("plants/+", {}, {}, "plants/+"),
    ],
)
def test_the_topic_that_is_told_is_the_one_that_was_published_on(
    filter: str,  # noqa: A002 - MQTT's word
    members: dict[str, Any],
    metadata: dict[str, str],
    want: str,
) -> None:
    payload = json.dumps(json.loads(event(1)) | members).encode()

    assert topic_of(filter, payload, metadata) == want


@pytest.mark.parametrize(
    ("members", "want"),
    [
        ({}, {}),
        ({"traceparent": "00-a-b-01", "tracestate": "x=1"}, {"traceparent": "00-a-b-01", "tracestate": "x=1"}),
        ({"traceid": "00-a-b-01"}, {"traceparent": "00-a-b-01"}),
        ({"traceid": "old", "traceparent": "new"}, {"traceparent": "new"}),
        ({"traceid": 7}, {}),
        ({"traceparent": {"a": 1}}, {}),
        ({"traceparent": "a\r\nb: c"}, {}),
        ({"traceparent": "00-a-b-01", "tracestate": "ü"}, {"traceparent": "00-a-b-01"}),
    ],
)
def test_trace_context_goes_on_where_it_is_one(members: dict[str, Any], want: dict[str, str]) -> None:
    assert trace_headers(json.dumps(json.loads(event(1)) | members).encode()) == want
