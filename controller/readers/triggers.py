"""Trigger -> neutral model: each subscriber gets its own subscriptions, whatever the others say; pure.

A subscriber is one subscription for every input it asks for and every receiver it names. Where inputs go together, its
inputs lead into a Join instead, and its receivers read what the Join makes. Dead letters for a receiver stand on a
subject of their own and are read from there like any event.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence

import msgspec

from api import durations, support
from api.actions import Resource
from api.delivery import DeliveryPolicy
from api.errors import InvalidInput, Problem
from api.kinds.events import Correlation, Subscriber, TriggerSpec
from api.meta import Key
from api.model import Filter, Join, JoinSink, Subscription
from controller.readers import names, sinks
from controller.readers.conditions import NeedsCorrelation, both, split
from controller.readers.correlation import Correlated, correlate
from controller.readers.delivery import read_delivery
from controller.readers.filters import placed, read_filter, uncompilable
from controller.readers.model import Scope, TriggerModel, apart
from controller.readers.sinks import Receiver
from triggers.paths import compile_path

PATIENT = 10_000
"""Attempts to bring an event into a join: only the platform can fail there, and the event waits until it does not."""


def read_trigger(resource: Resource, scope: Scope) -> TriggerModel:
    """Subscriptions and joins of every subscriber that has no defect."""
    spec: TriggerSpec = resource.spec
    reading = _Reading(resource.key, spec, scope)
    for index, subscriber in enumerate(spec.subscribers):
        reading.subscriber(subscriber, f"spec.subscribers[{index}]")
    reading.problems += _unknown_inputs(spec, scope)
    return TriggerModel(
        subscriptions=tuple(reading.found.values()),
        joins=tuple(reading.joins),
        functions=reading.functions,
        inherit=frozenset(reading.inherit),
        notes=apart(support.notes("Trigger", spec, scope.capabilities), reading.problems),
        problems=tuple(reading.problems),
    )


class _Reading:
    """What was found so far; keys are unique in it."""

    def __init__(self, owner: Key, spec: TriggerSpec, scope: Scope) -> None:
        self.owner, self.spec, self.scope = owner, spec, scope
        self.bus = Key(owner.namespace, spec.event_bus)
        self.found: dict[Key, Subscription] = {}
        self.joins: list[Join] = []
        self.functions: dict[Key, Key] = {}
        self.inherit: set[Key] = set()
        self.problems: list[Problem] = []
        self._tags: set[str] = set()

    def subscriber(self, given: Subscriber, path: str) -> None:
        receivers = list(self._receivers(given, path))
        if not receivers:
            return
        tag = self._tag(receivers[0].name)
        wanted = self._wanted(given, path)
        if wanted is None:
            return
        delivery = read_delivery(given.delivery, given.dead_letter_topic)
        letters = list(self._letters(given, delivery, path))
        if given.dead_letter_sink is not None and letters:
            delivery = msgspec.structs.replace(delivery, dead_letter=names.dead_subject(self.owner, tag))
        one = _One(tag, receivers, delivery, given.delivery is None, read_filter(given.filter))
        if isinstance(wanted, Correlated):
            self._join(one, wanted, given.correlation)
        else:
            self._plain(one, wanted)
        if given.dead_letter_sink is not None:
            self._forward(letters, "dead", tag, names.dead_subject(self.owner, tag), DeliveryPolicy(), inherit=True)

    def _receivers(self, given: Subscriber, path: str) -> Iterator[Receiver]:
        defects = list(sinks.problems(given.sink, f"{path}.sink", self.scope))
        self.problems += defects
        if given.sink is not None and not defects:
            yield sinks.receiver(given.sink, self.owner.namespace)
        if given.topic is not None:
            yield sinks.topic(given.topic)

    def _letters(self, given: Subscriber, delivery: DeliveryPolicy, path: str) -> Iterator[Receiver]:
        """Who gets dead letters where a sink is named: it, and the topic that is named beside it."""
        defects = list(sinks.problems(given.dead_letter_sink, f"{path}.deadLetterSink", self.scope))
        self.problems += defects
        if given.dead_letter_sink is None or defects:
            return
        yield sinks.receiver(given.dead_letter_sink, self.owner.namespace)
        if delivery.dead_letter is not None:
            yield sinks.topic(delivery.dead_letter)

    def _tag(self, receiver: str) -> str:
        """Name of a subscriber among those of its Trigger, stable over edits of the ones with other receivers."""
        candidates = (f"{receiver}{names.again(nth)}" for nth in itertools.count())
        tag = next(one for one in candidates if one not in self._tags)
        self._tags.add(tag)
        return tag

    def _wanted(self, given: Subscriber, path: str) -> Mapping[str, str | None] | Correlated | None:
        """What the subscriber asks for; None: that does not hold, and the problems say why."""
        before = len(self.problems)
        wanted: Mapping[str, str | None] | Correlated
        try:
            wanted = split(given.condition, self.spec.inputs)
        except NeedsCorrelation:
            try:
                wanted = correlate(given.condition or "", tuple(self.spec.inputs))
            except InvalidInput as error:
                self.problems += placed(error.problems, f"{path}.condition")
                return None
        texts = wanted.inputs if isinstance(wanted, Correlated) else wanted
        for condition in dict.fromkeys(texts.values()):
            self.problems += uncompilable(None, condition, f"{path}.condition")
        if given.filter is not None:
            self.problems += uncompilable(read_filter(given.filter), None, f"{path}.filter")
        if given.correlation is not None:
            self.problems += _correlation(given.correlation, wanted, f"{path}.correlation")
        return wanted if len(self.problems) == before else None

    def _plain(self, one: _One, wanted: Mapping[str, str | None]) -> None:
        for receiver in one.receivers:
            for name, condition in wanted.items():
                keys = (names.triggered(self.owner, receiver.name, name, nth) for nth in itertools.count())
                key = next(key for key in keys if key not in self.found)
                self._add(
                    self._input(key, name, one, condition), receiver, inherit=one.inherit and receiver.sink is None
                )

    def _join(self, one: _One, wanted: Correlated, correlation: Correlation | None) -> None:
        subject = names.joined_subject(self.owner, one.tag)
        join = Join(
            key=names.join(self.owner, one.tag),
            bus=self.bus,
            condition=wanted.condition,
            inputs=tuple(wanted.inputs),
            window=durations.parse((correlation or Correlation()).window),
            correlate=(correlation.key or "") if correlation else "",
            forward="all" if correlation else "newest",
            subject=subject,
        )
        self.joins.append(join)
        for name, condition in wanted.inputs.items():
            key = names.part(self.owner, "join", one.tag, name)
            self.found[key] = msgspec.structs.replace(
                self._input(key, name, one, both([_shares(join.correlate), condition or ""]) or None),
                sink=JoinSink(join=join.key, input=name),
                delivery=DeliveryPolicy(max_attempts=PATIENT, dead_letter=one.delivery.dead_letter),
            )
        self._forward(one.receivers, "joined", one.tag, subject, one.delivery, inherit=one.inherit)

    def _forward(
        self,
        receivers: Sequence[Receiver],
        kind: str,
        tag: str,
        subject: str,
        delivery: DeliveryPolicy,
        *,
        inherit: bool,
    ) -> None:
        """Everything on a subject of the subscriber's own, from its first event on, to each of *receivers*."""
        for receiver in receivers:
            key = names.part(self.owner, kind, tag, receiver.name)
            subscription = Subscription(
                key=key,
                bus=self.bus,
                subject=subject,
                group=key.name,
                trigger=self.owner.name,
                delivery=delivery,
                start="all",
            )
            self._add(subscription, receiver, inherit=inherit and receiver.sink is None)

    def _input(self, key: Key, name: str, one: _One, condition: str | None) -> Subscription:
        given = self.spec.inputs[name]
        return Subscription(
            key=key,
            bus=self.bus,
            subject=names.event_subject(self.owner.namespace, given.event_source, given.event),
            group=key.name,
            trigger=self.owner.name,
            filter=one.filter,
            condition=condition,
            delivery=one.delivery,
        )

    def _add(self, subscription: Subscription, receiver: Receiver, *, inherit: bool) -> None:
        self.found[subscription.key] = msgspec.structs.replace(subscription, sink=receiver.sink)
        if receiver.function is not None:
            self.functions[subscription.key] = receiver.function
        if inherit:
            self.inherit.add(subscription.key)


class _One(msgspec.Struct, frozen=True):
    """One subscriber, read."""

    tag: str
    receivers: Sequence[Receiver]
    delivery: DeliveryPolicy
    inherit: bool
    """It declares no delivery."""
    filter: Filter | None


def _shares(path: str) -> str:
    """Holds of events that have a value at *path*, and cannot be told of others: those are counted, and stay away."""
    return f"event.{path.removeprefix('event.')} != null" if path else ""


def _correlation(given: Correlation, wanted: object, path: str) -> Iterator[Problem]:
    if not isinstance(wanted, Correlated):
        message = "the condition needs no correlation: it is for several inputs at once, such as `a && b`"
        yield Problem(code="E125", path=path, message=message)
    if given.key:
        try:
            compile_path(given.key)
        except InvalidInput as error:
            yield from placed(error.problems, f"{path}.key")


def _unknown_inputs(spec: TriggerSpec, scope: Scope) -> Iterator[Problem]:
    """Inputs whose events do not come, as things stand."""
    for name, given in spec.inputs.items():
        bus = scope.sources.get(f"{given.event_source}.{given.event}")
        message = ""
        if bus is None:
            message = f"no event `{given.event}` of an EventSource `{given.event_source}` in {scope.namespace}"
        elif bus != spec.event_bus:
            message = f"its EventSource puts it on the bus `{bus}`, and this Trigger reads `{spec.event_bus}`"
        if message:
            yield Problem(code="Invalid", path=f"spec.inputs.{name}", message=message)
