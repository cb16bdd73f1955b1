"""Rows 18 and 21 of bad manifests: topics that a broker would refuse or read otherwise, filters that never end."""

from __future__ import annotations

import json
import time

import pytest

from api.errors import InvalidInput
from tests.api.bad_input import FUNCTION, SOURCE, TRIGGER
from tests.api.test_documents import problems, read
from triggers import filters

HANG = 2.0
"""Seconds; against hangs only."""

_BUS = FUNCTION.replace("http: {}", 'dapr: [{name: default, topic: "TOPIC"}]')
FIELDS = {
    "a trigger of a function": (_BUS, "bus"),
    "an output": (_BUS.replace("TOPIC", "ok") + '    outputs: [{dapr: {name: default, topic: "TOPIC"}}]\n', "bus"),
    "a dead letter topic": (_BUS.replace("TOPIC", "ok") + '    delivery: {deadLetter: "TOPIC"}\n', "bus"),
    "a trigger's topic": (TRIGGER.replace("sink: {ref: {kind: Function, name: hello}}", 'topic: "TOPIC"'), "bus"),
    "a trigger's dead letter topic": (TRIGGER + '    deadLetterTopic: "TOPIC"\n', "bus"),
    "an mqtt source": (SOURCE.replace("plant/#", '"TOPIC"'), "mqtt"),
    "a kafka source": (
        SOURCE.replace("mqtt:", "kafka:").replace("topic: plant/#", 'topic: "TOPIC"\n      brokers: k:9092'),
        "kafka",
    ),
    "a nats source": (SOURCE.replace("mqtt:", "nats:").replace("topic: plant/#", 'subject: "TOPIC"'), "nats"),
}
"""Where a topic stands, and whose rule holds there."""
TOPICS = {
    "bus": ["a b", ">", "a.>", "$SYS/#", "a/#/b", "a+b", "", "x" * 70_000],
    "mqtt": ["a b", "$SYS/#", "a/#/b", "a+/b", "", "x" * 70_000],
    "kafka": ["a b", ">", "$SYS/#", "a/b", "a/#/b", "..", "", "x" * 70_000],
    "nats": ["a b", ">", "a.>.b", "$JS.API.>", "_INBOX.x", "a..b", "a*", "", "x" * 70_000],
}
CASES = [(where, topic) for where, (_, rule) in FIELDS.items() for topic in TOPICS[rule]]


@pytest.mark.parametrize(("where", "topic"), CASES, ids=[f"{where}: {topic[:8]}" for where, topic in CASES])
def test_a_topic_that_its_broker_has_no_place_for(where: str, topic: str) -> None:
    text, _ = FIELDS[where]
    begun = time.monotonic()
    (found,) = problems(text.replace("TOPIC", topic))

    assert found.code == "E122"
    assert found.path.endswith(("topic", "Topic", "subject", "deadLetter"))
    assert found.line
    assert len(found.message) < 250
    assert time.monotonic() - begun < HANG


@pytest.mark.parametrize("where", FIELDS)
def test_a_plain_topic_is_taken_everywhere(where: str) -> None:
    assert read(FIELDS[where][0].replace("TOPIC", "plant.readings"))


@pytest.mark.parametrize("text", ["(" * 3000, "data.x == '" + "y" * 5000 + "'", "matches(data.x, '(?=a)')"])
def test_a_filter_that_is_refused(text: str) -> None:
    begun = time.monotonic()
    with pytest.raises(InvalidInput) as caught:
        filters.compile(None, text)

    assert {problem.code for problem in caught.value.problems} <= {"E125", "E126"}
    assert time.monotonic() - begun < HANG


def test_a_pattern_that_would_never_end_elsewhere() -> None:
    predicate = filters.compile(None, "matches(data.x, '(a+)+$')")
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "data": {"x": "a" * 5000 + "!"}}
    begun = time.monotonic()

    assert not predicate(json.dumps(event).encode())
    assert time.monotonic() - begun < HANG
