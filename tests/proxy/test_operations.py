"""What the operations API makes of events for pub/sub components: apps get what Dapr's own API would have sent."""

from __future__ import annotations

import json

from proxy.operations import of_component

EVENT = {"specversion": "1.0", "id": "1", "source": "me", "type": "t", "data": {"n": 1}}


def test_an_event_for_a_component_has_what_apps_count_on() -> None:
    made = json.loads(of_component(json.dumps(EVENT).encode(), "bus", "orders"))

    assert made.items() >= EVENT.items()
    assert (made["topic"], made["pubsubname"]) == ("orders", "bus")
    assert made["traceid"] == made["traceparent"]
    assert made["tracestate"] == ""


def test_what_is_no_event_stays_for_the_check() -> None:
    for payload in (b"{", b"[]", b'{"specversion": "1.0"}', json.dumps(EVENT | {"evokehops": 3}).encode()):
        assert of_component(payload, "bus", "orders") == payload
