"""Where the events of a resource go: from subjects to functions, from functions to subjects, dead letters included."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

from api.consistency.events import SOURCE_KINDS
from api.kinds.events import Subscriber, TriggerSpec
from api.kinds.fields import Sink
from api.kinds.openfunction import FunctionSpec, ServingBody
from api.kinds.sources import EventSourceSpec
from api.tree import Path

Place: TypeAlias = tuple[str, ...]
"""("function", namespace, name) or ("subject", namespace, bus, topic)."""
Letters: TypeAlias = Mapping[Place, str]
"""Function -> topic of the dead letters of whoever declares no delivery of his own."""

_TEXT = re.compile(r"\"(?:[^\"\\]|\\.)*\"|'(?:[^'\\]|\\.)*'")
_NAMES = re.compile(r"(?<![.\w-])[A-Za-z_][\w-]*", re.ASCII)


class Flow(NamedTuple):
    start: Place
    end: Place
    path: Path
    """The field that says so."""


def function(namespace: str, name: str) -> Place:
    return ("function", namespace, name)


def subject(namespace: str, bus: str, topic: str) -> Place:
    return ("subject", namespace, bus, topic)


def letters(namespace: str, name: str, spec: Any) -> Iterator[tuple[Place, str]]:
    """Of a Function that declares a dead letter topic."""
    serving = spec.serving if isinstance(spec, FunctionSpec) else None
    if serving is not None and serving.delivery is not None and serving.delivery.dead_letter:
        yield function(namespace, name), serving.delivery.dead_letter


def flows(namespace: str, name: str, spec: Any, known: Letters) -> Iterator[Flow]:
    """Every way of one resource."""
    if isinstance(spec, FunctionSpec) and spec.serving is not None:
        yield from _function(namespace, name, spec.serving)
    if isinstance(spec, TriggerSpec):
        for number, subscriber in enumerate(spec.subscribers):
            yield from _subscriber(namespace, spec, subscriber, ("subscribers", number), known)
    if isinstance(spec, EventSourceSpec):
        for event in (event for kind in SOURCE_KINDS for event in getattr(spec, kind)):
            start = subject(namespace, spec.event_bus, f"{namespace}.{name}.{event}")
            yield from _to_sink(start, spec.sink, ("sink",), known)


def _function(namespace: str, name: str, serving: ServingBody) -> Iterator[Flow]:
    here = function(namespace, name)
    for number, output in enumerate(serving.outputs):
        if output.dapr.topic:
            end = subject(namespace, output.dapr.name, output.dapr.topic)
            yield Flow(here, end, ("serving", "outputs", number, "dapr", "topic"))
    dead = serving.delivery.dead_letter if serving.delivery else None
    for number, trigger in enumerate(serving.triggers.dapr if serving.triggers else ()):
        if trigger.topic:
            start = subject(namespace, trigger.name, trigger.topic)
            yield Flow(start, here, ("serving", "triggers", "dapr", number, "topic"))
            if dead:
                yield Flow(start, subject(namespace, trigger.name, dead), ("serving", "delivery", "deadLetter"))


def _subscriber(
    namespace: str, spec: TriggerSpec, subscriber: Subscriber, path: Path, known: Letters
) -> Iterator[Flow]:
    inherited = known if subscriber.delivery is None and not subscriber.dead_letter_topic else {}
    if subscriber.dead_letter_sink is not None:
        inherited = {}
    dead = subscriber.dead_letter_topic or (subscriber.delivery.dead_letter if subscriber.delivery else None)
    for name in _asked(subscriber.condition, spec.inputs):
        given = spec.inputs[name]
        start = subject(namespace, spec.event_bus, f"{namespace}.{given.event_source}.{given.event}")
        yield from _to_sink(start, subscriber.sink, (*path, "sink"), inherited)
        yield from _to_sink(start, subscriber.dead_letter_sink, (*path, "deadLetterSink"), known)
        for field, topic in (("topic", subscriber.topic), ("deadLetterTopic", dead)):
            if topic:
                yield Flow(start, subject(namespace, spec.event_bus, topic), (*path, field))


def _to_sink(start: Place, sink: Sink | None, path: Path, known: Letters) -> Iterator[Flow]:
    if sink is None or sink.ref is None or sink.ref.kind != "Function":
        return
    _, namespace, bus, _ = start
    end = function(namespace, sink.ref.name)
    yield Flow(start, end, path)
    if end in known:
        yield Flow(start, subject(namespace, bus, known[end]), path)


def _asked(condition: str | None, inputs: Collection[str]) -> Collection[str]:
    """Inputs whose events *condition* may let through: those that it names, all where it names none or an absence."""
    bare = _TEXT.sub("", condition or "")
    named = [name for name in inputs if name in _NAMES.findall(bare)]
    return named if named and "!" not in bare.replace("!=", "") else inputs
