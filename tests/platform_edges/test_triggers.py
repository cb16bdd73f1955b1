"""What OpenFunction's event layer gets wrong, on a whole platform of two proxies: none of it is here.

The docstrings of tests name the defects, which are upstream's. A test's events have ids of their own; what must not
happen is looked for once no subscription has anything left to do.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.platform import until
from tests.platform_edges.trigger_manifest import CODE, FLEETING, MANIFEST, MANY, ref, trigger
from tests.platform_edges.trigger_world import World, ready, world

pytestmark = pytest.mark.platform


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # taken, and nobody listens
        names = {"CLOSED": f"127.0.0.1:{closed.getsockname()[1]}"}
        with world(tmp_path_factory.mktemp("triggers") / "project", MANIFEST, CODE, **names) as made:
            for kind in ("EventSource", "Trigger"):
                until(partial(ready, made.platform, kind), what=f"every {kind} ready")
            yield made


@pytest.fixture
def _nothing_ends(here: World) -> Iterator[None]:
    """A send error kills upstream's handler."""
    before = here.ends()
    yield
    assert here.ends() == before


@pytest.mark.usefixtures("_nothing_ends")
def test_subscribers_with_one_condition_all_get_the_event(here: World) -> None:
    """They are one entry of a map."""
    here.post("shop/order", "o1", {"n": 1})
    here.settled()

    assert [len(here.got(name, "o1")) for name in ("one", "two")] == [1, 1]


@pytest.mark.usefixtures("_nothing_ends")
def test_each_address_and_each_topic_gets_its_own_events(here: World) -> None:
    """The last address gets all of them, and of two subscribers with a topic only the first publishes."""
    here.post("shop/order", "o2", {"n": 2})
    here.post("shop/refund", "r2", {"n": -2})
    here.settled()

    orders = [one for one in here.receiver.sent if one.event["id"] == "o2"]
    refunds = [one for one in here.receiver.sent if one.event["id"] == "r2"]
    assert [(one.place, one.query) for one in orders + refunds] == [("/orders", "token=t"), ("/refunds", "")]
    for one in orders + refunds:
        assert one.content_type == "application/cloudevents+json"
        assert (one.event["specversion"], one.event["type"]) == ("1.0", "io.evoke.http.request")
    assert [orders[0].event["source"], orders[0].event["data"]] == ["webhook://shop/order", {"n": 2}]
    assert sorted(one["id"] for one in here.got("fan", "o2", "r2")) == ["o2", "r2"]


@pytest.mark.usefixtures("_nothing_ends")
def test_dead_letters_go_where_they_should(here: World) -> None:
    """Nothing is ever sent to deadLetterSink or deadLetterTopic."""
    here.receiver.broken["/broken"] = "out of order"
    here.post("shop/storm", "s1", {"wind": 12})
    here.settled()

    assert here.receiver.ids("/broken") == ["s1", "s1"]
    for name in ("undertaker", "graveyard"):
        closed, broken = sorted(here.got(name, "s1"), key=lambda one: one.get("knativeerrorcode", 0))
        for letter in (broken, closed):
            assert letter["data"] == {"wind": 12}
            assert letter["source"] == "webhook://shop/storm"
            told = [letter[f"evoke{word}"] for word in ("reason", "attempts", "trigger")]
            assert told == ["max-attempts", 2, "failing"]
        assert (broken["evokeerror"], broken["knativeerrorcode"]) == ("HTTP 500: out of order", 500)
        assert broken["knativeerrordest"] == f"{here.receiver.url}/broken"
        assert "cannot connect" in closed["evokeerror"]
    assert [len(here.got(name, "s1")) for name in ("two", "fan")] == [1, 1]
    assert [one["reason"] for one in here.letters("failing")] == ["max-attempts"] * 2


@pytest.mark.usefixtures("_nothing_ends")
def test_a_dead_letter_sink_alone_is_refused(here: World) -> None:
    """The controller crashes."""
    alone = trigger("alone", "storm", f"condition: storm, deadLetterSink: {ref('undertaker')}")
    done = here.platform.evoke("apply", "-f", "-", text=alone, check=False)

    assert (done.returncode, "E118" in done.stderr) == (2, True)


@pytest.mark.usefixtures("_nothing_ends")
def test_a_failing_sink_of_a_source_holds_up_nobody(here: World) -> None:
    """One failure of two receivers stops the other."""
    here.receiver.broken["/both"] = "no"
    sent = ["n1", "n2", "n3"]
    for name in sent:
        here.post("both/news", name, {})
    until(lambda: len(here.got("one", *sent)) == 3, what="the bus and its Trigger go on")
    until(lambda: set(here.receiver.ids("/both")) == set(sent), what="attempts at the sink")
    del here.receiver.broken["/both"]
    here.settled()

    assert sorted(one["id"] for one in here.got("one", *sent)) == sent
    assert here.letters("both") == []


@pytest.mark.usefixtures("_nothing_ends")
def test_a_circle_ends_in_a_dead_letter(here: World) -> None:
    event = {"specversion": "1.0", "id": "c1", "source": "/test", "type": "t", "data": {}}
    path = "/v1/namespaces/default/buses/default/publish?subject=circle"
    here.platform.request("POST", path, event, socket_name="plane-0.sock")
    here.settled()

    assert [one.get("evokehops", 0) for one in here.got("round")] == list(range(17))
    (letter,) = here.letters("round")
    assert (letter["reason"], letter["event"]["evokehops"]) == ("loop", 17)


def pairs(here: World, function: str, name: str) -> list[dict[str, str]]:
    """Ids of the events that found each other and share *name*, by their inputs."""
    calls = [one["data"] for one in here.got(function) if one["type"] == "io.evoke.joined"]
    return [
        {given: event["id"] for given, event in data.items()}
        for data in calls
        if all(event["data"]["k"] == name for event in data.values())
    ]


@pytest.mark.usefixtures("_nothing_ends")
def test_a_condition_holds_once_for_each_pair(here: World) -> None:
    """Flags stay up for a minute, and every further event of either fires."""
    here.post("shop/left", "l1", {"k": "x"})
    here.post("shop/left", "other", {"k": "y"})
    here.post("shop/right", "r1", {"k": "x"})
    here.settled()
    assert pairs(here, "one", "x") == [{"left": "l1", "right": "r1"}]

    here.post("shop/right", "r1b", {"k": "x"})
    here.settled()
    assert len(pairs(here, "one", "x")) == 1
    here.post("shop/left", "l1b", {"k": "x"})
    here.settled()
    assert pairs(here, "one", "x")[1:] == [{"left": "l1b", "right": "r1b"}]


@pytest.mark.usefixtures("_nothing_ends")
def test_absence(here: World) -> None:
    here.post("shop/left", "l2", {"k": "alone"})
    here.settled()
    here.post("shop/right", "a2", {"k": "alone"})
    here.settled()
    here.post("shop/left", "l2b", {"k": "alone"})
    here.settled()

    assert pairs(here, "two", "alone") == [{"left": "l2"}]


@pytest.mark.usefixtures("_nothing_ends")
def test_upstreams_own_condition_forwards_the_newest_event(here: World) -> None:
    here.post("shop/tick", "t1", {"n": 1})
    here.settled()
    here.post("shop/tock", "t2", {"n": 2})
    here.settled()

    (event,) = here.got("one", "t1", "t2")
    assert (event["id"], event["source"], event["data"]) == ("t2", "webhook://shop/tock", {"n": 2})


def apart(assigned: list[set[str]]) -> bool:
    """Whether each proxy owns some inputs of the Trigger with many, and all are owned."""
    owned = [sum(name.startswith("join.many.") for name in names) for names in assigned]
    return sum(owned) == len(MANY) and max(owned) < len(MANY)


@pytest.mark.usefixtures("_nothing_ends")
def test_proxies_share_what_a_condition_waits_for(here: World) -> None:
    """Each replica of a handler sees a part of the events and keeps flags of its own."""
    until(lambda: apart(here.assigned()), what="inputs of one condition with both proxies")
    for part in MANY:
        here.post(f"shop/{part}", f"m-{part}", {"k": "all"})
    here.settled()

    assert pairs(here, "one", "all") == [{part: f"m-{part}" for part in MANY}]


def test_what_a_condition_waits_for_survives_kill_9(here: World) -> None:
    here.post("shop/left", "l3", {"k": "killed"})
    here.settled()
    here.kill_proxies()
    here.post("shop/right", "r3", {"k": "killed"})
    here.settled()

    assert pairs(here, "one", "killed") == [{"left": "l3", "right": "r3"}]


def test_dead_letters_are_stored_once_though_proxies_are_killed(here: World) -> None:
    here.receiver.broken["/broken"] = "still out of order"
    before, known = here.stored("buried"), len(here.letters("failing"))
    sent = [f"k{number}" for number in range(6)]  # after 20 failures in a row an address would be tried rarely
    for number, name in enumerate(sent):
        here.post("shop/storm", name, {"wind": number})
        if number == 2:
            here.kill_proxies()
    here.settled()

    assert here.stored("buried") - before == len(here.letters("failing")) - known == 2 * len(sent)
    copies = {(one["id"], one["knativeerrordest"]): one["data"] for one in here.got("graveyard", *sent)}
    assert len(copies) == 2 * len(sent)
    assert all(data == {"wind": sent.index(name)} for (name, _), data in copies.items())
    for function in ("two", "fan"):
        assert {one["id"] for one in here.got(function, *sent)} == set(sent)


def test_an_event_that_is_removed_leaves_nothing_behind(here: World) -> None:
    """The handler of an event that left the spec goes on for ever."""
    for event in ("kept", "gone"):
        here.post(f"fleeting/{event}", f"{event}1", {})
    here.settled()
    assert len(here.got("one", "gone1", "kept1")) == 2
    assert len(here.members("default.fleeting.gone")) == 1

    here.platform.evoke("apply", "-f", "-", text=FLEETING.replace(", gone: {}", ""))
    until(lambda: here.status("fleeting/gone", "gone2", {}) == 404, what="the webhook ends")
    until(lambda: not here.members("default.fleeting.gone"), what="its consumer goes")
    late: dict[str, Any] = {"specversion": "1.0", "id": "gone3", "source": "/test", "type": "t"}
    path = "/v1/namespaces/default/buses/default/publish?subject=default.fleeting.gone"
    here.platform.request("POST", path, late, socket_name="plane-0.sock")
    here.post("fleeting/kept", "kept2", {})
    here.settled()

    assert here.got("one", "gone2", "gone3") == []
    assert len(here.got("one", "kept2")) == 1
    assert not any("fleeting.gone" in name for names in here.assigned() for name in names)
