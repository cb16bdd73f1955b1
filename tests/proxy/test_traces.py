"""Trace attributes of what apps publish: Dapr always sets them, and models of events in apps ask for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.meta import Key
from api.model import App
from proxy.dapr.caller import Caller
from proxy.dapr.messages import Batch, Entry, Place, single

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLACE = Place(pubsub="bus", topic="t", bus=Key("default", "bus"), subject="t")
PARENT = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01"
NAMES = ("traceid", "traceparent", "tracestate")
WHOLE = {"specversion": "1.0", "id": "1", "source": "s", "type": "t"}
STRUCTURED = "application/cloudevents+json"


def published(data: Any, kind: str = "application/json", *, parent: str = "", protocol: str = "http") -> dict[str, Any]:
    app = App(key=Key("default", "a"), id="a", protocol=protocol)  # type: ignore[arg-type]  # a row of the table
    made = single(Caller(app, parent), PLACE, json.dumps(data).encode(), kind, {}, NOW)
    event: dict[str, Any] = json.loads(made.payload)
    return event


def test_an_event_without_a_trace_begins_one() -> None:
    first, second = published({}), published({})

    assert first["traceid"] == first["traceparent"] != second["traceparent"]
    assert first["tracestate"] == ""


@pytest.mark.parametrize(("data", "kind"), [({}, "application/json"), (WHOLE, STRUCTURED)])
def test_the_trace_of_the_call_is_that_of_the_event(data: Any, kind: str) -> None:
    event = published(data, kind, parent=PARENT)

    assert [event[name] for name in NAMES] == [PARENT, PARENT, ""]


def test_an_event_keeps_the_trace_that_it_has() -> None:
    event = published({**WHOLE, "traceparent": PARENT, "tracestate": "x=1"}, STRUCTURED)

    assert [event[name] for name in NAMES] == [PARENT, PARENT, "x=1"]


def test_what_a_handler_of_ours_sends_stays_as_it_is() -> None:
    assert published(WHOLE, STRUCTURED, protocol="evoke").keys() & set(NAMES) == set()


def test_events_of_one_bulk_request_are_of_one_trace() -> None:
    app = App(key=Key("default", "a"), id="a", protocol="http")
    batch = Batch(Caller(app), PLACE, {}, NOW)
    events = [json.loads(batch.make(Entry(str(n), b"{}", "application/json")).payload) for n in range(2)]

    assert events[0]["traceparent"] == events[1]["traceparent"] == events[0]["traceid"]
