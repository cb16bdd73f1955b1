"""Trigger -> subscriptions, joins and dead letters, each subscriber on its own."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from api.meta import Key
from api.model import JoinSink, Sink, Subscription, TopicSink, UriSink
from controller.readers.model import TriggerModel
from tests.readers.worlds import SCOPE, source, trigger

INPUTS = """\
inputs:
  a: {eventSource: plant, event: readings}
  b: {eventSource: plant, event: alarms}
"""
HELLO = "sink: {ref: {kind: Function, name: hello}}"
CLUSTER = msgspec.structs.replace(SCOPE, capabilities=frozenset({"images"}))
KNATIVE = msgspec.structs.replace(SCOPE, capabilities=frozenset({"images", "knative"}))


def subscribed(*subscribers: str) -> TriggerModel:
    return trigger(INPUTS + "subscribers:\n" + "".join(f"- {{{one}}}\n" for one in subscribers))


def receivers(model: TriggerModel) -> list[tuple[str, str, Sink | Key | None]]:
    """(key, subject, receiver) of every subscription."""
    return [(one.key.name, one.subject, one.sink or model.functions.get(one.key)) for one in model.subscriptions]


def by_key(model: TriggerModel) -> dict[str, Subscription]:
    return {one.key.name: one for one in model.subscriptions}


def test_every_subscriber_gets_its_own_even_with_the_same_condition() -> None:
    model = subscribed(
        f"condition: a, {HELLO}", f"condition: a, {HELLO.replace('hello', 'other')}", f"condition: a, {HELLO}"
    )

    assert receivers(model) == [
        ("trigger.hot.hello.a", "team.plant.readings", Key("team", "hello")),
        ("trigger.hot.other.a", "team.plant.readings", Key("team", "other")),
        ("trigger.hot.hello.a.2", "team.plant.readings", Key("team", "hello")),
    ]
    assert len({one.group for one in model.subscriptions}) == 3


def test_two_addresses_get_their_own_events() -> None:
    model = subscribed("condition: a, sink: {uri: 'http://x/one'}", "condition: a, sink: {uri: 'http://x/two?key=s'}")

    assert [one.sink for one in model.subscriptions] == [UriSink(url="http://x/one"), UriSink(url="http://x/two?key=s")]
    assert len({one.key for one in model.subscriptions}) == 2
    assert not any("key" in one.key.name for one in model.subscriptions)  # an address may hold a token
    assert (model.functions, model.inherit, model.problems) == ({}, frozenset(), ())


def test_a_sink_and_a_topic_are_two_subscriptions() -> None:
    model = subscribed(f"condition: a, topic: next.one, {HELLO}")

    assert receivers(model) == [
        ("trigger.hot.hello.a", "team.plant.readings", Key("team", "hello")),
        ("trigger.hot.topic-next-one-3125c58d.a", "team.plant.readings", TopicSink(subject="next.one")),
    ]


def test_a_topic_alone_publishes_every_input() -> None:
    model = subscribed("topic: next")

    assert [(one.subject, one.sink) for one in model.subscriptions] == [
        ("team.plant.readings", TopicSink(subject="next")),
        ("team.plant.alarms", TopicSink(subject="next")),
    ]
    assert model.problems == ()


def test_a_dead_letter_topic() -> None:
    model = subscribed(f"condition: a, deadLetterTopic: dead, {HELLO}")
    (one,) = model.subscriptions

    assert one.delivery.dead_letter == "dead"
    assert model.inherit == {one.key}  # the rest of the promise is its function's


@pytest.mark.parametrize(
    ("letters", "sink"),
    [
        ("deadLetterSink: {ref: {kind: Function, name: undertaker}}", Key("team", "undertaker")),
        ("deadLetterSink: {uri: 'http://x'}", UriSink(url="http://x")),
    ],
)
def test_a_dead_letter_sink_reads_a_subject_of_its_own(letters: str, sink: Sink | Key) -> None:
    model = subscribed(f"condition: a, {letters}, {HELLO}")
    first, second = model.subscriptions

    assert first.delivery.dead_letter == second.subject == "evoke.dead.team.hot.hello"
    assert (second.sink or model.functions[second.key]) == sink
    assert (second.start, second.delivery.dead_letter, second.condition) == ("all", None, None)


def test_a_dead_letter_sink_and_topic() -> None:
    model = subscribed(f"condition: a, deadLetterSink: {{uri: 'http://x'}}, deadLetterTopic: dead, {HELLO}")

    assert [(one.subject, one.sink) for one in model.subscriptions[1:]] == [
        ("evoke.dead.team.hot.hello", UriSink(url="http://x")),
        ("evoke.dead.team.hot.hello", TopicSink(subject="dead")),
    ]
    assert model.subscriptions[0].delivery.dead_letter == "evoke.dead.team.hot.hello"


def test_only_a_dead_letter_sink_beside_a_topic() -> None:
    model = subscribed("condition: a, topic: next, deadLetterSink: {uri: 'http://x'}")

    assert [(one.subject, one.sink) for one in model.subscriptions] == [
        ("team.plant.readings", TopicSink(subject="next")),
        ("evoke.dead.team.hot.topic-next", UriSink(url="http://x")),
    ]


def test_dead_letters_of_two_subscribers_do_not_mix() -> None:
    letters = [f"condition: a, deadLetterSink: {{uri: 'http://{name}'}}, {HELLO}" for name in "xy"]
    found = by_key(subscribed(*letters))

    assert found["trigger.hot.hello.a"].delivery.dead_letter == "evoke.dead.team.hot.hello"
    assert found["trigger.hot.hello.a.2"].delivery.dead_letter == "evoke.dead.team.hot.hello.2"
    assert {one.subject: one.sink for one in found.values() if one.sink} == {
        "evoke.dead.team.hot.hello": UriSink(url="http://x"),
        "evoke.dead.team.hot.hello.2": UriSink(url="http://y"),
    }


def test_a_knative_service_is_not_here() -> None:
    service = "condition: a, sink: {ref: {kind: Service, name: s}}"
    model = subscribed(service, f"condition: a, {HELLO}")

    assert [(one.code, one.path) for one in model.problems] == [("NotHere", "spec.subscribers[0].sink.ref.kind")]
    assert [one.key.name for one in model.subscriptions] == ["trigger.hot.hello.a"]
    (there,) = trigger(INPUTS + f"subscribers: [{{{service}}}]", KNATIVE).subscriptions
    assert there.sink == UriSink(url="http://s.team.svc.cluster.local")


def test_events_flow_where_only_the_dead_letter_sink_is_not_here() -> None:
    model = subscribed(f"condition: a, deadLetterSink: {{ref: {{kind: Service, name: s}}}}, {HELLO}")

    assert [one.path for one in model.problems] == ["spec.subscribers[0].deadLetterSink.ref.kind"]
    assert [(one.key.name, one.delivery.dead_letter) for one in model.subscriptions] == [("trigger.hot.hello.a", None)]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "a.localhost"])
def test_loopback_is_a_receiver_on_one_machine_only(host: str) -> None:
    text = INPUTS + f"subscribers: [{{condition: a, sink: {{uri: 'http://{host}:8000/'}}}}]"

    assert trigger(text).problems == ()
    assert [one.code for one in trigger(text, CLUSTER).problems] == ["NotHere"]


def test_inputs_that_go_together_lead_into_a_join() -> None:
    model = subscribed(
        f"condition: 'a && b.data.x < 2', filter: {{exact: {{type: t}}}}, delivery: {{retry: 3}}, {HELLO}"
    )
    (join,) = model.joins
    found = by_key(model)

    assert (join.key, join.bus, join.subject) == (
        Key("team", "hot.hello"),
        Key("team", "default"),
        "evoke.joined.team.hot.hello",
    )
    assert (join.condition, join.inputs, join.window) == ("a && b", ("a", "b"), timedelta(seconds=60))
    assert (join.correlate, join.forward) == ("", "newest")
    assert [(one.key.name, one.sink, one.condition, bool(one.filter)) for one in model.subscriptions] == [
        ("join.hot.hello.a", JoinSink(join=join.key, input="a"), None, True),
        ("join.hot.hello.b", JoinSink(join=join.key, input="b"), "event.data.x < 2", True),
        ("joined.hot.hello.hello", None, None, False),
    ]
    receiver = found["joined.hot.hello.hello"]
    assert (receiver.subject, receiver.start) == (join.subject, "all")
    assert [one.delivery.max_attempts for one in model.subscriptions] == [10_000, 10_000, 3]
    assert model.functions == {receiver.key: Key("team", "hello")}


def test_a_correlation_has_a_window_and_a_key() -> None:
    model = subscribed(f"condition: 'a && b', correlation: {{window: 5s, key: data.vehicle}}, {HELLO}")
    (join,) = model.joins

    assert (join.window, join.correlate, join.forward) == (timedelta(seconds=5), "data.vehicle", "all")
    assert [one.condition for one in model.subscriptions] == [*["event.data.vehicle != null"] * 2, None]


def test_a_join_has_every_receiver_and_its_dead_letters() -> None:
    model = subscribed(f"condition: 'a && b', topic: next, deadLetterSink: {{uri: 'http://x'}}, {HELLO}")

    assert {one.delivery.dead_letter for one in model.subscriptions if one.subject != "evoke.dead.team.hot.hello"} == {
        "evoke.dead.team.hot.hello"
    }
    assert [(one.subject, one.sink) for one in model.subscriptions[2:]] == [
        ("evoke.joined.team.hot.hello", None),
        ("evoke.joined.team.hot.hello", TopicSink(subject="next")),
        ("evoke.dead.team.hot.hello", UriSink(url="http://x")),
    ]


def test_joins_of_two_subscribers_do_not_mix() -> None:
    model = subscribed(f"condition: 'a && b', {HELLO}", f"condition: 'a && !b', {HELLO}")

    assert [(one.key.name, one.condition) for one in model.joins] == [
        ("hot.hello", "a && b"),
        ("hot.hello.2", "a && !b"),
    ]
    assert len({one.key for one in model.subscriptions}) == 6


def test_an_absence_is_seen_when_another_input_comes() -> None:
    (join,) = subscribed(f"condition: '!a', {HELLO}").joins

    assert (join.condition, join.inputs) == ("!a", ("a", "b"))


def test_an_event_source_with_an_address_as_sink() -> None:
    model = source("mqtt: {r: {topic: t}, s: {topic: u}}\nsink: {uri: 'http://127.0.0.1:1/'}")

    assert [one.key.name for one in model.sources] == ["plant.r", "plant.s"]  # the bus has them, whatever the sink does
    assert [(one.subject, one.sink) for one in model.subscriptions] == [
        ("team.plant.r", UriSink(url="http://127.0.0.1:1/")),
        ("team.plant.s", UriSink(url="http://127.0.0.1:1/")),
    ]
    assert (model.functions, model.problems) == ({}, ())


def test_an_event_source_with_a_service_as_sink_goes_on_without() -> None:
    model = source("mqtt: {r: {topic: t}}\nsink: {ref: {kind: Service, name: s}}")

    assert [(one.code, one.path) for one in model.problems] == [("NotHere", "spec.sink.ref.kind")]
    assert len(model.sources) == 1
    assert model.subscriptions == ()
