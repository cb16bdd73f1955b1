"""What only the readers can say is said before anything is stored."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from api.documents import decode_spec, read
from api.errors import InvalidInput
from controller.local.resources import Resources
from controller.local.secrets import Secrets
from controller.local.sqlite import SqliteStore, connect
from tests.readers.worlds import BUS, FUNCTION, SOURCE, TRIGGER

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SINK = "sink: {ref: {kind: Function, name: hello}}"
INPUTS = "  inputs: {r: {eventSource: plant, event: readings}}\n"


@pytest.fixture
def resources(tmp_path: Path) -> Iterator[Resources]:
    db = connect(tmp_path / "state.db")
    yield Resources(SqliteStore(db, decode_spec), Secrets(tmp_path / "secrets"), frozenset({"processes"}))
    db.close()


def apply(resources: Resources, text: str) -> list[dict[str, Any]]:
    documents = read(["-"], stdin=io.BytesIO(text.encode()))
    body = {"documents": [{"resource": one.resource, "file": "/p/f.yaml", "line": one.line} for one in documents]}
    return asyncio.run(resources.apply(body, NOW))


def test_a_condition_that_does_not_compile_is_refused(resources: Resources) -> None:
    text = TRIGGER + INPUTS + f"  subscribers: [{{condition: 'r && data.x.matches(\"(?=a)\")', {SINK}}}]\n"
    with pytest.raises(InvalidInput) as caught:
        apply(resources, text)

    assert [(one.code, one.path, one.file) for one in caught.value.problems] == [
        ("E125", "spec.subscribers[0].condition", "/p/f.yaml")
    ]
    assert resources.select("all", None, "") == []


def test_a_loop_closed_by_a_later_apply_is_refused(resources: Resources) -> None:
    there = "  serving: {triggers: {dapr: [{name: default, topic: t}]}, outputs: [{dapr: {name: default, topic: u}}]}\n"
    back = there.replace("topic: t", "topic: T").replace("topic: u", "topic: t").replace("topic: T", "topic: u")
    apply(resources, FUNCTION + there)

    with pytest.raises(InvalidInput, match="E124"):
        apply(resources, FUNCTION.replace("hello", "back") + back)


def test_what_is_not_honoured_is_a_warning(resources: Resources) -> None:
    source = SOURCE + "  mqtt: {readings: {topic: t}}\n  logLevel: '2'\n"
    (result,) = apply(resources, source)

    assert (result["outcome"], [one.path for one in result["warnings"]]) == ("created", ["spec.logLevel"])


def test_a_bus_on_kafka_is_taken_as_it_stands(resources: Resources) -> None:
    (result,) = apply(resources, BUS + "  kafka: {brokers: 'k:9092', partitions: 3}\n")

    assert (result["outcome"], result["warnings"]) == ("created", [])


def test_a_revision_is_made_once(resources: Resources) -> None:
    text = FUNCTION.replace("kind: Function", "kind: Serving") + "  {triggers: {}, image: a, replicas: 1}\n"
    apply(resources, text)
    apply(resources, text.replace("replicas: 1", "replicas: 2"))

    with pytest.raises(InvalidInput) as caught:
        apply(resources, text.replace("image: a", "image: b"))

    assert [(one.code, one.path) for one in caught.value.problems] == [("E127", "spec.image")]
