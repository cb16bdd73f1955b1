"""The pure parts around the window: turns, demand, routes, what is measured, what Dapr makes of a message."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from api.meta import RevisionKey
from api.model import Backend
from eventbus.bus import Incoming
from eventbus.cloudevents import Malformed
from proxy import turns
from proxy.demand import Pulls, demand
from proxy.envelope import Message, wrap
from proxy.hold import route_over
from proxy.hops import caused, count_up, echoed, hops
from proxy.lanes import Entry, Lane
from proxy.meter import Meter, Waits
from proxy.post import Poster
from proxy.turns import Turns
from replicas.http import HttpClient
from tests.proxy.plant import subscription

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


class Player:
    """Has so many events of so many bytes to start, in batches; writes down when it started how many."""

    def __init__(self, name: str, events: int, log: list[tuple[str, int]], *, batch: int = 1, size: int = 100) -> None:
        self.name, self.left, self.log, self.batch, self.size = name, events, log, batch, size

    def turn(self, events: int, size: int) -> tuple[int, int]:
        started = 0
        while self.left > started and started < events and started * self.size < size:
            started += min(self.batch, self.left - started)
        self.left -= started
        if started:
            self.log.append((self.name, started))
        return started, started * self.size


def play(*players: Player) -> None:
    async def scenario() -> None:
        table = Turns()
        for player in players:
            table.ready(player)
            table.ready(player)
        while any(player.left for player in players):  # noqa: ASYNC110 - one pass of the loop each
            await asyncio.sleep(0)

    asyncio.run(scenario())


def test_players_alternate_by_quantum() -> None:
    log: list[tuple[str, int]] = []
    play(Player("hot", 640, log), Player("quiet", 3, log))

    assert log[:3] == [("hot", turns.EVENTS), ("quiet", 3), ("hot", turns.EVENTS)]


def test_a_batch_over_the_quantum_is_paid_back() -> None:
    log: list[tuple[str, int]] = []
    play(Player("big", 400, log, batch=100), Player("small", 320, log))

    shares = {name: sum(count for who, count in log[:9] if who == name) for name in ("big", "small")}
    assert abs(shares["big"] - shares["small"]) <= 100


def test_large_events_count_by_their_bytes() -> None:
    log: list[tuple[str, int]] = []
    play(Player("large", 30, log, size=100 << 10), Player("small", 100, log))

    assert log[0] == ("large", 3)


@pytest.mark.parametrize(
    ("credit", "held", "outstanding", "room", "size", "want"),
    [
        (0, 0, 0, 4096, 100, 256),  # asleep: look at some
        (1, 0, 0, 4096, 100, 64),
        (100, 0, 0, 4096, 100, 400),
        (100, 300, 50, 4096, 100, 0),  # not worth a request yet
        (100, 250, 50, 4096, 100, 100),
        (5000, 0, 0, 4096, 100, 4096),
        (100, 0, 0, 10, 100, 10),
        (100, 0, 0, 0, 100, 0),
        (5000, 0, 0, 4096, 1 << 20, 3),  # two megabytes under way at most
        (5000, 0, 3, 4096, 1 << 20, 0),
    ],
)
def test_demand(credit: int, held: int, outstanding: int, room: int, size: float, want: int) -> None:
    asked = demand(credit=credit, capacity=4096, held=held, outstanding=outstanding, room=room, size=size)

    assert asked == want


def test_all_triggers_together_have_thirty_two_megabytes_under_way() -> None:
    pulls, size = Pulls(), 100_000.0

    def ask(trigger: int) -> int:
        left = pulls.left(trigger)
        events = demand(credit=1000, capacity=4096, held=0, outstanding=0, room=4096, size=size, pull=left)
        pulls.asked(trigger, events * size)
        return events

    asked = [ask(trigger) for trigger in range(40)]
    assert asked[0] == 21
    assert sum(asked) * size <= (32 << 20) + 40 * size
    assert asked[-1] == 1  # nobody starves
    for trigger in range(5):
        pulls.asked(trigger, 0)
    assert ask(39) > 1
    for trigger in range(40):
        pulls.asked(trigger, 0)
    assert pulls.left("any") == 2 << 20


def test_a_thousand_idle_triggers_leave_room_for_a_busy_one() -> None:
    pulls = Pulls()
    for trigger in range(2000):
        pulls.asked(trigger, 32_768)

    assert demand(credit=32, capacity=4096, held=0, outstanding=0, room=4096, size=512.0, pull=pulls.left("hot")) == 128


def test_route_is_stable_by_key_and_follows_the_weights() -> None:
    revisions = [RevisionKey("default", "f", f"0000{n}") for n in (1, 2)]
    route = route_over((Backend(revision=revisions[0], weight=90), Backend(revision=revisions[1], weight=10)))

    keyed = [route(f"key-{n}", n) for n in range(2000)]
    assert keyed == [route(f"key-{n}", n + 7) for n in range(2000)]
    assert 0.05 < keyed.count(revisions[1]) / 2000 < 0.15
    unkeyed = [route("", n) for n in range(2000)]
    assert 0.05 < unkeyed.count(revisions[1]) / 2000 < 0.15
    assert route_over(())("k", 1) is None


def test_waits_forget_after_a_minute() -> None:
    waits = Waits()
    for _ in range(99):
        waits.add(0.010, 0.0)
    waits.add(1.0, 0.0)

    median, slow = waits.percentiles(1.0, 0.5, 0.999)
    assert 10 <= median <= 12.5
    assert 1000 <= slow <= 1250
    assert waits.percentiles(61.0, 0.5) == [0.0]


def test_match_ratio_starts_at_one_and_follows() -> None:
    meter = Meter()
    assert meter.ratio == 1.0
    meter.intake(100, 0, 100)
    assert meter.ratio == 0.0
    for _ in range(200):
        meter.intake(10, 10, 100)
    assert meter.ratio > 0.95


def message(body: bytes, content_type: str, **metadata: str) -> Message:
    named = {name.replace("_", "."): value for name, value in metadata.items()}
    return Message(
        body=body, content_type=content_type, metadata=named, source="f-default", topic="t", pubsub="default"
    )


@pytest.mark.parametrize(
    ("body", "content_type", "want"),
    [
        (b'{"price": 1.10}', "application/json", {"datacontenttype": "application/json", "data": {"price": 1.1}}),
        (b"{broken", "application/json", {"datacontenttype": "application/json", "data": "{broken"}),
        (b"hi", "text/plain", {"datacontenttype": "text/plain", "data": "hi"}),
        (
            b"\x00\x01",
            "application/octet-stream",
            {"datacontenttype": "application/octet-stream", "data_base64": "AAE="},
        ),
        (b"hi", "", {"datacontenttype": "text/plain", "data": "hi"}),
    ],
)
def test_envelope(body: bytes, content_type: str, want: dict[str, Any]) -> None:
    members = json.loads(wrap(message(body, content_type), NOW))

    assert members.pop("id")
    assert members == {
        "specversion": "1.0",
        "source": "f-default",
        "type": "com.dapr.event.sent",
        "time": "2026-01-31T12:00:00Z",
        "topic": "t",
        "pubsubname": "default",
        **want,
    }


def test_envelope_keeps_digits_and_takes_overrides() -> None:
    wrapped = wrap(message(b'{"price":1.10}', "application/json", cloudevent_id="7", cloudevent_type="x"), NOW)

    assert b'"data":{"price":1.10}' in wrapped
    assert (json.loads(wrapped)["id"], json.loads(wrapped)["type"]) == ("7", "x")


def test_cloud_event_passes_through() -> None:
    given = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","topic":"forged","data":{"a":[1,2.50]}}'
    wrapped = wrap(message(given, "application/cloudevents+json; charset=utf-8"), NOW)

    members = json.loads(wrapped)
    assert (members["id"], members["source"], members["topic"]) == ("1", "/s", "t")
    assert b'{"a":[1,2.50]}' in wrapped
    with pytest.raises(Malformed):
        wrap(message(b"[]", "application/cloudevents+json"), NOW)


def test_an_app_that_echoes_the_hops_of_its_delivery_is_counted() -> None:
    plain = b'{"specversion":"1.0","id":"1","source":"/s","type":"t"}'
    counted = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","evokehops":3}'

    assert json.loads(caused(plain, echoed(b"4")))["evokehops"] == 5
    assert caused(counted, echoed(b"4")) == counted  # whoever says it itself knows better
    assert caused(plain, echoed(b"")) == caused(plain, echoed(b"-1")) == caused(plain, echoed(b"9" * 7)) == plain
    assert [hops(count_up(counted)), hops(count_up(plain)), hops(b'{"evokehops":"x"}')] == [4, 1, 0]


def test_entries_of_a_bulk_delivery_say_what_headers_say_alone() -> None:
    plain = b'{"specversion":"1.0","id":"1","source":"/s","type":"t"}'
    batch = [
        Entry(Incoming(0, number, "", payload), Lane(""), 0.0)
        for number, payload in enumerate((plain, count_up(plain), plain), 1)
    ]
    batch[2].attempts = 2
    body = json.loads(Poster(HttpClient(), subscription(), 1)._body(batch))

    assert [entry.get("metadata") for entry in body["entries"]] == [
        None,
        {"evoke-attempt": "1", "evoke-hops": "1"},
        {"evoke-attempt": "3", "evoke-hops": "0"},
    ]


def test_raw_payload_is_carried_as_bytes() -> None:
    members = json.loads(wrap(message(b"{}", "application/json", rawpayload="true"), NOW))

    assert members["data_base64"] == "e30="
