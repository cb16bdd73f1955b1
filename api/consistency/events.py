"""EventBus, EventSource, Trigger and Gateway."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta

from api import durations
from api.consistency import choices
from api.kinds.buses import EventBusSpec
from api.kinds.events import EventFilter, Subscriber, TriggerSpec
from api.kinds.networking import GatewaySpec
from api.kinds.sources import EventSourceSpec
from api.structure import Fault
from api.tree import Path

SOURCE_KINDS = ("kafka", "redis", "cron", "mqtt", "nats", "http")
DIALECTS = ("exact", "prefix", "suffix", "all", "any", "not", "sql", "expression")
LONGEST_WINDOW = timedelta(hours=24)
_INPUT = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,62}", re.ASCII)
_PATH = re.compile(r"(/(?!\.{1,2}(/|$))[A-Za-z0-9._~-]{1,128}){1,16}/?", re.ASCII)
_OWN_PATHS = {"function", "async-function", "webhook", "healthz", "readyz", "metrics"}
_RESERVED = {"event", "data", "true", "false", "null", "in", "has", "size"}


def bus(spec: EventBusSpec, _namespace: str, _complete: bool) -> Iterator[Fault]:
    yield from choices.at_most_one(spec, ("natsStreaming", "nats", "kafka", "mqtt"), ())
    for name in ("nats", "kafka", "mqtt"):
        if broker := getattr(spec, name):
            yield from choices.credentials(broker, (name,))


def source(spec: EventSourceSpec, namespace: str, complete: bool) -> Iterator[Fault]:
    seen: dict[str, str] = {}
    for kind in SOURCE_KINDS:
        for event, settings in getattr(spec, kind).items():
            if seen.setdefault(event, kind) != kind:
                yield Fault("E117", (kind, event), f"the event `{event}` already stands under {seen[event]}")
            yield from choices.credentials(settings, (kind, event))
    for event, hook in spec.http.items():
        if hook.path is not None and (wrong := _unserved(hook.path)):
            yield Fault("E113", ("http", event, "path"), wrong)
    if complete and not seen:
        yield Fault("E119", (), f"no event: name one under {', '.join(SOURCE_KINDS)}")
    yield from choices.sink(spec.sink, namespace, ("sink",), complete=complete)


def _unserved(path: str) -> str:
    """Why no webhook can be served at *path*; empty: it can."""
    if not _PATH.fullmatch(path):
        return f"`{path[:80]}` is no path: write one such as `/hooks/github`"
    if path.split("/")[1] in _OWN_PATHS:
        return f"`/{path.split('/')[1]}` is the gateway's own; choose another path"
    return ""


def trigger(spec: TriggerSpec, namespace: str, complete: bool) -> Iterator[Fault]:
    if complete and not spec.inputs:
        yield Fault("E119", ("inputs",), "no input: name an event of an EventSource")
    if complete and not spec.subscribers:
        yield Fault("E119", ("subscribers",), "no subscriber: name a sink")
    for name, given in spec.inputs.items():
        if not _INPUT.fullmatch(name) or name in _RESERVED:
            yield Fault("E112", ("inputs", name), f"`{name[:80]}` is no input name: letters, digits, `_` and `-`")
        yield from choices.same_namespace(given.namespace, namespace, ("inputs", name))
    for index, subscriber in enumerate(spec.subscribers):
        yield from _subscriber(subscriber, namespace, ("subscribers", index), complete)


def _subscriber(subscriber: Subscriber, namespace: str, path: Path, complete: bool) -> Iterator[Fault]:
    if complete and subscriber.sink is None and subscriber.topic is None:
        yield Fault("E118", path, "one of `sink`, `topic` must be set")
    yield from choices.sink(subscriber.sink, namespace, (*path, "sink"), complete=complete)
    yield from choices.sink(subscriber.dead_letter_sink, namespace, (*path, "deadLetterSink"), complete=complete)
    if subscriber.filter is not None:
        yield from _filter(subscriber.filter, (*path, "filter"), complete)
    correlation = subscriber.correlation
    if correlation is not None and not timedelta() < durations.parse(correlation.window) <= LONGEST_WINDOW:
        yield Fault("E113", (*path, "correlation", "window"), "a window is longer than 0s and at most 24h")
    delivery = subscriber.delivery
    if delivery is not None and delivery.dead_letter and subscriber.dead_letter_topic:
        yield Fault("E118", path, "only one of `deadLetterTopic`, `delivery.deadLetter` may be set")


def _filter(given: EventFilter, path: Path, complete: bool) -> Iterator[Fault]:
    yield from choices.exactly_one(given, DIALECTS, path, complete=complete)
    for name in ("all", "any"):
        for index, inner in enumerate(getattr(given, name) or ()):
            yield from _filter(inner, (*path, name, index), complete)
    if given.not_ is not None:
        yield from _filter(given.not_, (*path, "not"), complete)


def gateway(spec: GatewaySpec, _namespace: str, complete: bool) -> Iterator[Fault]:
    yield from choices.exactly_one(spec, ("gatewayRef", "gatewayDef"), (), complete=complete)
