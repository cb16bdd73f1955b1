"""EventBus, EventSource and Trigger -> neutral model."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest

from api.documents import read
from api.meta import Key, SecretKeyRef
from api.model import Bus
from controller.readers.events import read_bus, read_source
from controller.readers.function import read_function
from controller.readers.model import accepted_reason
from controller.readers.triggers import read_trigger
from tests.readers.worlds import BUS, SCOPE, resource, resource_of, source, trigger

INPUTS = """\
inputs:
  readings: {eventSource: plant, event: readings}
  alarms: {eventSource: plant, event: alarms}
"""
SINK = "sink: {ref: {kind: Function, name: hello}}"


def bus(text: str) -> Bus:
    return read_bus(resource(BUS + f"  {text}\n"))


@pytest.mark.parametrize(
    ("text", "kind", "options"),
    [
        ("{}", "nats", {}),
        ("{nats: {}}", "nats", {}),
        (
            "{nats: {url: nats://n:4222, username: u, passwordFrom: {secretRef: {name: s, key: k}}, retain: 5}}",
            "nats",
            {"password": SecretKeyRef(name="s", key="k"), "retain": "5", "url": "nats://n:4222", "user": "u"},
        ),
        (
            "{natsStreaming: {natsURL: nats://n, natsStreamingClusterID: stan, subscriptionType: queue}}",
            "nats",
            {},
        ),
        (
            "{natsStreaming: {natsURL: nats://n, maxInFlight: 7, deliverNew: true, deliverAll: true}}",
            "nats",
            {"maxInFlight": "7", "start": "all"},
        ),
        ("{natsStreaming: {startAtSequence: 3, deliverAll: true}}", "nats", {"start": "sequence:3"}),
        ("{natsStreaming: {startWithLastReceived: true}}", "nats", {"start": "last"}),
        ("{natsStreaming: {startAtTimeDelta: 1m30s}}", "nats", {"start": "ago:90"}),
        ("{natsStreaming: {startAtTimeDelta: soon}}", "nats", {}),
        ("{natsStreaming: {startAtTime: '2026-01-02T03:04:05Z'}}", "nats", {"start": "time:1767323045.000000"}),
        ("{natsStreaming: {startAtTime: '1767323045'}}", "nats", {"start": "time:1767323045"}),
        ("{natsStreaming: {startAtTime: 'Jan 2', startAtTimeFormat: 'Jan _2'}}", "nats", {}),
        ("{kafka: {brokers: 'k:9092'}}", "kafka", {"brokers": "k:9092"}),
        ("{mqtt: {url: tcp://m:1883}}", "mqtt", {"url": "tcp://m:1883"}),
    ],
)
def test_buses(text: str, kind: str, options: dict[str, object]) -> None:
    assert bus(text) == Bus(key=Key("team", "shared"), kind=kind, options=options)  # type: ignore[arg-type] # rows


def test_an_mqtt_event_is_a_source_with_every_default() -> None:
    model = source("mqtt: {readings: {topic: plant/#}}\n" + SINK)
    (found,) = model.sources

    assert (found.key, found.kind, found.bus) == (Key("team", "plant.readings"), "mqtt", Key("team", "default"))
    assert found.subject == "team.plant.readings"
    assert found.options == {"qos": "1", "topic": "plant/#"}
    assert model.problems == ()
    assert model.notes == ()


def test_a_sink_is_a_subscription_with_its_functions_delivery() -> None:
    model = source("mqtt: {readings: {topic: plant/#}, alarms: {topic: alarm}}\n" + SINK)

    assert [(one.key.name, one.subject) for one in model.subscriptions] == [
        ("source.plant.alarms.hello", "team.plant.alarms"),
        ("source.plant.readings.hello", "team.plant.readings"),
    ]
    assert set(model.functions.values()) == {Key("team", "hello")}
    assert model.inherit == {one.key for one in model.subscriptions}


def test_credentials_stand_in_secrets() -> None:
    (found,) = source(
        "mqtt: {readings: {url: 'ssl://m:8883', topic: t, username: u, cleanSession: true, consumerID: me,"
        " passwordFrom: {secretRef: {name: s, key: k}}}}"
    ).sources

    assert found.options == {
        "cleanSession": "true",
        "consumerID": "me",
        "password": SecretKeyRef(name="s", key="k"),
        "qos": "1",
        "topic": "t",
        "url": "ssl://m:8883",
        "user": "u",
    }


@pytest.mark.parametrize(
    ("schedule", "options"),
    [
        ("@every 2s", {"schedule": "@every 2s"}),
        ("CRON_TZ=Europe/Berlin 0 9 * * 1-5", {"schedule": "0 9 * * 1-5", "timeZone": "Europe/Berlin"}),
        ("*/10 * * * * *", {"schedule": "*/10 * * * * *"}),
    ],
)
def test_schedules(schedule: str, options: dict[str, str]) -> None:
    (found,) = source(f"cron: {{tick: {{schedule: '{schedule}'}}}}").sources

    assert found.options == options


def test_a_kafka_group_stands_where_upstream_has_it() -> None:
    (found,) = source("kafka: {e: {brokers: 'k:9092', topic: t, scaleOption: {consumerGroup: mine}}}").sources

    assert found.options == {"brokers": "k:9092", "consumerGroup": "mine", "topic": "t"}


def test_a_subscriber_gets_a_subscription_per_input_it_asks_for() -> None:
    model = trigger(
        INPUTS
        + f"""
subscribers:
- {SINK}
- {{condition: alarms, {SINK}}}
- {{condition: 'readings && event.data.celsius > 30 || alarms', {SINK.replace("hello", "other")}}}
"""
    )

    assert [(one.key.name, one.subject, one.condition) for one in model.subscriptions] == [
        ("trigger.hot.hello.readings", "team.plant.readings", None),
        ("trigger.hot.hello.alarms", "team.plant.alarms", None),
        ("trigger.hot.hello.alarms.2", "team.plant.alarms", None),
        ("trigger.hot.other.readings", "team.plant.readings", "event.data.celsius > 30"),
        ("trigger.hot.other.alarms", "team.plant.alarms", None),
    ]
    assert {one.trigger for one in model.subscriptions} == {"hot"}
    assert all(one.group == one.key.name for one in model.subscriptions)
    assert model.problems == ()


def test_a_group_survives_edits_of_condition_filter_and_delivery() -> None:
    before = trigger(INPUTS + f"subscribers: [{{condition: readings, {SINK}}}]").subscriptions[0]
    after = trigger(
        INPUTS + f"subscribers: [{{condition: 'readings && data.x > 1', delivery: {{retry: 1}}, {SINK}}}]"
    ).subscriptions[0]

    assert (before.key, before.group) == (after.key, after.group)


def test_filters_keep_their_meaning() -> None:
    text = "filter: {all: [{exact: {type: a}}, {not: {prefix: {source: b}}}, {any: [{suffix: {subject: c}}]}]}"
    (one, *_) = trigger(INPUTS + f"subscribers: [{{{text}, {SINK}}}]").subscriptions

    assert one.filter is not None
    assert one.filter.dialect == "all"
    assert json.loads(one.filter.argument) == [
        {"exact": {"type": "a"}},
        {"not": {"prefix": {"source": "b"}}},
        {"any": [{"suffix": {"subject": "c"}}]},
    ]


def test_delivery_of_a_subscriber() -> None:
    model = trigger(
        INPUTS + f"subscribers: [{{condition: readings, deadLetterTopic: dead, delivery: {{timeout: 5s}}, {SINK}}}]"
    )
    (one,) = model.subscriptions

    assert (one.delivery.timeout, one.delivery.dead_letter) == (timedelta(seconds=5), "dead")
    assert model.inherit == frozenset()


REFUSED = {
    "two of an input": ("condition: 'readings && alarms || readings.data.x < 2'", "Invalid", "condition"),
    "of no input": ("condition: 'readings && alarms && data.x < 2'", "Invalid", "condition"),
    "comparison of inputs": ("condition: 'readings.data.x == alarms.data.x'", "Invalid", "condition"),
    "never": ("condition: '!readings && !alarms'", "Invalid", "condition"),
    "needless correlation": ("correlation: {window: 5s}, condition: 'readings || alarms'", "Invalid", "correlation"),
    "no path": ("correlation: {key: 'vehicle..id'}, condition: 'readings && alarms'", "Invalid", "correlation.key"),
    "syntax": ("condition: 'data.x <'", "Invalid", "condition"),
    "unknown name": ("condition: 'reading'", "Invalid", "condition"),
    "regular expression": ("condition: 'data.x.matches(\"(?=a)\")'", "Invalid", "condition"),
    "sql": ('filter: {sql: "type = "}', "Invalid", "filter"),
}


@pytest.mark.parametrize(("text", "reason", "path"), REFUSED.values(), ids=REFUSED)
def test_subscribers_that_cannot_be_served_say_why(text: str, reason: str, path: str) -> None:
    model = trigger(INPUTS + f"subscribers: [{{{text}, {SINK}}}]")

    assert {(accepted_reason(problem), problem.path) for problem in model.problems} == {
        (reason, f"spec.subscribers[0].{path}")
    }
    assert model.subscriptions == ()


def test_an_unknown_event_is_named() -> None:
    model = trigger(f"inputs: {{x: {{eventSource: plant, event: nothing}}}}\nsubscribers: [{{{SINK}}}]")

    assert [problem.path for problem in model.problems] == ["spec.inputs.x"]
    assert "no event `nothing` of an EventSource `plant`" in model.problems[0].message


def test_an_event_of_another_bus_is_named() -> None:
    model = trigger(f"eventBus: other\ninputs: {{x: {{eventSource: plant, event: alarms}}}}\nsubscribers: [{{{SINK}}}]")

    assert [problem.path for problem in model.problems] == ["spec.inputs.x"]
    assert "puts it on the bus `default`, and this Trigger reads `other`" in model.problems[0].message


SAMPLES = sorted((Path(__file__).parent.parent.parent / "samples").glob("*/*.yaml"))


@pytest.mark.parametrize("file", SAMPLES, ids=lambda file: file.parent.name)
def test_samples_are_honoured_whole(file: Path) -> None:
    found = [resource_of(document) for document in read([file], namespace="team")]
    sources = {
        one.key.name: one.bus.name
        for given in found
        if given.kind == "EventSource"
        for one in read_source(given, SCOPE).sources
    }
    scope = type(SCOPE)(namespace="team", sources=sources, capabilities=SCOPE.capabilities)
    readers = {"Function": read_function, "EventSource": read_source, "Trigger": read_trigger}
    models = [readers[given.kind](given, scope) for given in found if given.kind in readers]  # type: ignore[operator] # readers differ in what they answer

    assert [model.problems for model in models if model.problems] == []
    assert [model.notes for model in models if model.notes] == []
