"""What OpenFunction's event controllers get wrong, told of a whole namespace: none of it is here."""

from __future__ import annotations

import io
from datetime import timedelta

from api.documents import read
from api.meta import Key
from api.model import JoinSink, Snapshot, Subscription, TopicSink, UriSink
from controller import plan, reading
from controller.reading import Models
from tests.readers.worlds import resource_of

FUNCTIONS = "".join(
    f"""---
apiVersion: core.openfunction.io/v1beta2
kind: Function
metadata: {{name: {name}, namespace: team}}
spec: {{build: {{srcRepo: {{url: .}}}}, serving: {{triggers: {{}}}}}}
"""
    for name in ("one", "two", "undertaker")
)
PLANT = """---
apiVersion: events.openfunction.io/v1alpha1
kind: EventSource
metadata: {name: plant, namespace: team}
spec: {mqtt: {readings: {topic: r}, alarms: {topic: a}}SINK}
"""
TRIGGER = """---
apiVersion: events.openfunction.io/v1alpha1
kind: Trigger
metadata: {name: hot, namespace: team}
spec:
  inputs: {a: {eventSource: plant, event: readings}, b: {eventSource: plant, event: alarms}}
  subscribers:
"""
ONE, TWO = (f"sink: {{ref: {{kind: Function, name: {name}}}}}" for name in ("one", "two"))
UNDERTAKER = "{ref: {kind: Function, name: undertaker}}"


def models(*documents: str) -> Models:
    found = read(["-"], stdin=io.BytesIO("".join(documents).encode()))
    return reading.read([resource_of(one) for one in found], {"processes", "folders"})


def snapshot(*subscribers: str, sink: str = "") -> Snapshot:
    text = TRIGGER + "".join(f"  - {{{one}}}\n" for one in subscribers) if subscribers else ""
    return plan.describe("team", models(PLANT.replace("SINK", sink), FUNCTIONS, text), {})


def functions(*subscribers: str) -> dict[Key, Key]:
    """Subscription of the trigger -> its function."""
    text = TRIGGER + "".join(f"  - {{{one}}}\n" for one in subscribers)
    return models(PLANT.replace("SINK", ""), FUNCTIONS, text).triggers[Key("team", "hot")].functions


def on(found: Snapshot, subject: str) -> list[Subscription]:
    return [one for one in found.subscriptions if one.subject == subject]


def test_a_dead_letter_sink_gets_the_dead_letters() -> None:
    """Upstream's handler never reads the output that its controller declares."""
    found = snapshot(f"condition: a, deadLetterSink: {UNDERTAKER}, {ONE}")
    (first,) = on(found, "team.plant.readings")
    (second,) = on(found, first.delivery.dead_letter or "")

    assert functions(f"condition: a, deadLetterSink: {UNDERTAKER}, {ONE}")[second.key] == Key("team", "undertaker")


def test_a_dead_letter_sink_is_not_the_sink() -> None:
    """Upstream builds it from the sink and registers it under the sink's name."""
    found = snapshot("condition: a, sink: {uri: 'http://live'}, deadLetterSink: {uri: 'http://dead'}")

    assert [one.sink for one in on(found, "team.plant.readings")] == [UriSink(url="http://live")]
    assert UriSink(url="http://dead") in [one.sink for one in found.subscriptions]


def test_a_dead_letter_sink_alone_stands() -> None:
    """Upstream dereferences the sink that is not there."""
    found = snapshot("condition: a, topic: next, deadLetterSink: {uri: 'http://dead'}")

    assert {type(one.sink) for one in found.subscriptions} == {TopicSink, UriSink}


def test_a_dead_letter_topic_is_published_on() -> None:
    (one,) = on(snapshot(f"condition: a, deadLetterTopic: dead, {ONE}"), "team.plant.readings")

    assert one.delivery.dead_letter == "dead"


def test_addresses_do_not_overwrite_each_other() -> None:
    """Upstream names the output after the trigger, so every event goes to the last address."""
    found = snapshot(
        "condition: a, sink: {uri: 'http://one'}",
        "condition: b, sink: {uri: 'http://two'}",
        "condition: a, sink: {uri: 'http://three'}",
    )

    assert sorted((one.subject, one.sink.url) for one in found.subscriptions if isinstance(one.sink, UriSink)) == [
        ("team.plant.alarms", "http://two"),
        ("team.plant.readings", "http://one"),
        ("team.plant.readings", "http://three"),
    ]


def test_subscribers_with_one_condition_all_get_the_event() -> None:
    """Upstream keeps them in a map by condition."""
    found = functions(f"condition: a, {ONE}", f"condition: a, {TWO}", f"condition: a, {ONE}")

    assert sorted(key.name for key in found.values()) == ["one", "one", "two"]
    assert len({one.group for one in snapshot(f"condition: a, {ONE}", f"condition: a, {TWO}").subscriptions}) == 2


def test_subscribers_with_one_topic_both_publish() -> None:
    """Upstream makes an output for the first one only."""
    found = snapshot("condition: a, topic: next", "condition: b, topic: next")

    assert sorted((one.subject, one.sink) for one in found.subscriptions) == [
        ("team.plant.alarms", TopicSink(subject="next")),
        ("team.plant.readings", TopicSink(subject="next")),
    ]


def test_a_source_with_a_reference_and_no_address_stands() -> None:
    """Upstream dereferences the address."""
    found = snapshot(sink=f", {ONE}")

    assert sorted(one.subject for one in found.subscriptions) == ["team.plant.alarms", "team.plant.readings"]


def test_every_subject_keeps_its_own_scaling() -> None:
    """Upstream's scalers share one map and all end with the last subject."""
    found = snapshot(ONE)

    assert sorted(one.subject for one in found.subscriptions) == ["team.plant.alarms", "team.plant.readings"]
    assert len({(one.key, one.group) for one in found.subscriptions}) == 2


def test_scale_options_that_are_not_honoured_are_named() -> None:
    """Upstream drops a Kafka source's bounds in silence."""
    text = (
        PLANT.split("spec:", maxsplit=1)[0] + "spec: {kafka: {e: {brokers: 'k:9092', topic: t,"
        " scaleOption: {minReplicaCount: 1, maxReplicaCount: 2, lagThreshold: '5'}}}}\n"
    )
    (model,) = models(text).sources.values()

    said = [problem.path for problem in (*model.notes, *model.problems)]
    assert any(path.startswith("spec.kafka.e") for path in said)


def test_the_bus_has_an_event_whatever_its_sink_does() -> None:
    """Upstream sends to both in turn, and a failure of one stops the other."""
    found = snapshot(f"condition: a, {TWO}", sink=", sink: {uri: 'http://down'}")

    assert [one.subject for one in found.sources] == ["team.plant.alarms", "team.plant.readings"]
    readings = on(found, "team.plant.readings")
    assert [one.sink for one in readings] == [UriSink(url="http://down"), None]
    assert len({one.group for one in readings}) == 2  # each has its own progress


def test_an_event_that_is_removed_leaves_nothing_behind() -> None:
    """Upstream keeps its function."""
    fewer = PLANT.replace("SINK", f", {ONE}").replace(", alarms: {topic: a}", "")
    found = plan.describe("team", models(fewer, FUNCTIONS), {})

    assert [one.subject for one in found.sources] == ["team.plant.readings"]
    assert [one.subject for one in found.subscriptions] == ["team.plant.readings"]


def test_a_condition_over_two_inputs_is_one_state_for_all_proxies() -> None:
    """Upstream keeps flags in each replica, so two replicas may each see half; its window is fixed."""
    found = snapshot(f"condition: 'a && b', correlation: {{window: 5s}}, {ONE}")
    (join,) = found.joins

    assert join.window == timedelta(seconds=5)
    inputs = [one.sink for one in found.subscriptions if isinstance(one.sink, JoinSink)]
    assert inputs == [JoinSink(join=join.key, input="a"), JoinSink(join=join.key, input="b")]
    assert [one.sink for one in on(found, join.subject)] == [None]


def test_conditions_see_attributes_and_data() -> None:
    """Upstream's see names of inputs only."""
    (one,) = on(snapshot(f"condition: a && a.data.x > 1 && a.type == 't', {ONE}"), "team.plant.readings")

    assert one.condition == "event.data.x > 1 && event.type == 't'"
