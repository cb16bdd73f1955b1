"""A broker, one proxy and the replicas of one function, as far as the autoscaler can tell them from real ones.

Events of a key run one at a time and in order. The proxy keeps its promises (it refuses to close while it holds work
and wants a replica while it has none); what it reports may be late, blind or not come at all.
"""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime, timedelta
from random import Random

import msgspec

from api.frames import Readings, TriggerReading, Want
from api.meta import Key, RevisionKey
from api.model import Replica, Subscription
from tests.simulation.clock import Clock

REVISION = RevisionKey("default", "f", "00001")
SUBSCRIPTION = Key("default", "f.topic")
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class Conditions(msgspec.Struct, kw_only=True):
    """How the world is now; faults change it, heal() brings it back."""

    handler: float = 0.05
    start: float = 0.01
    credit: int = 1
    failing: float = 0.0
    """Share of attempts that fail."""
    blind: str = ""
    silent: bool = False
    refusing: bool = False
    """Every Close is refused."""

    def heal(self) -> None:
        self.start, self.failing, self.blind, self.silent, self.refusing = 0.01, 0.0, "", False, False


class Event(msgspec.Struct, kw_only=True):
    number: int
    key: str
    published: float
    attempts: int = 0


class Instance:
    """One replica."""

    def __init__(self, name: str, since: float) -> None:
        self.name, self.since = name, since
        self.phase = "starting"
        self.running: dict[int, Event] = {}

    def observed(self) -> Replica:
        return Replica(
            id=self.name,
            revision=REVISION,
            phase=self.phase,  # type: ignore[arg-type]  # one of Phase
            since=EPOCH + timedelta(seconds=self.since),
        )


class Proxy:
    """Owner of the subscription; also what replicas.server.AgentState is to the controller."""

    role = "proxy"
    boot_id = "boot"

    def __init__(self, clock: Clock, random: Random, conditions: Conditions) -> None:
        self.clock, self.random, self.conditions = clock, random, conditions
        self.instances: list[Instance] = []
        self.lanes: dict[str, deque[Event]] = {}
        self.busy: set[str] = set()
        self.parked: set[str] = set()
        self.done: list[Event] = []
        self.finished: list[tuple[int, float]] = []
        self.arrived = self.started = 0
        self.handler_us = 0.0
        self.readings: Readings | None = None
        self.received = 0.0
        self.wants: dict[RevisionKey, Want] = {}
        self.wake = lambda: None
        """The controller looks."""
        clock.every(1.0, self.report)

    @property
    def lag(self) -> int:
        return sum(map(len, self.lanes.values()))

    @property
    def in_flight(self) -> int:
        return sum(len(one.running) for one in self.instances)

    def publish(self, key: str) -> None:
        event = Event(number=self.arrived, key=key, published=self.clock.now)
        self.arrived += 1
        self.lanes.setdefault(key, deque()).append(event)
        self.dispatch()
        if not self._serving():
            self._want()

    def dispatch(self) -> None:
        for key in list(self.lanes):
            if key in self.busy or key in self.parked:
                continue
            room = [one for one in self._serving() if len(one.running) < self.conditions.credit]
            if not room:
                break
            self._start(min(room, key=lambda one: (len(one.running), one.name)), self.lanes[key][0])

    def _serving(self) -> list[Instance]:
        return [one for one in self.instances if one.phase == "ready"]

    def _want(self) -> None:
        if not self.conditions.silent:
            self.wants = {REVISION: Want(revision=REVISION, waiting=self.lag)}
            self.clock.after(0.001, self.wake)

    def _start(self, instance: Instance, event: Event) -> None:
        event.attempts += 1
        instance.running[event.number] = event
        self.busy.add(event.key)
        seconds = self.conditions.handler * self.random.uniform(0.7, 1.3)
        self.clock.after(seconds, lambda: self._end(instance, event, seconds))

    def _end(self, instance: Instance, event: Event, seconds: float) -> None:
        if instance.running.pop(event.number, None) is None:
            return  # the replica died first
        self.busy.discard(event.key)
        self.handler_us += 0.2 * (seconds * 1e6 - self.handler_us)
        if self.random.random() < self.conditions.failing and event.attempts < 10:
            self.park(event, 1.0)
        else:
            self._settle(event)
        self.dispatch()

    def _settle(self, event: Event) -> None:
        lane = self.lanes[event.key]
        assert lane.popleft() is event
        if not lane:
            del self.lanes[event.key]
        self.done.append(event)
        self.finished.append((event.number, self.clock.now - event.published))

    def park(self, event: Event, seconds: float) -> None:
        """Hold the head of a key back for a while."""
        self.parked.add(event.key)

        def again() -> None:
            self.parked.discard(event.key)
            self.dispatch()

        self.clock.after(seconds, again)

    def close(self, names: set[str], *, last: bool) -> bool:
        """Answer Close; with *last* only while nothing at all is held."""
        closing = [one for one in self.instances if one.name in names]
        refused = self.conditions.refusing or any(one.running for one in closing) or (last and self.lag)
        if not refused:
            for one in closing:
                one.phase = "gone"
        return not refused

    def lose(self, instance: Instance) -> None:
        """A replica died with what it ran; those events run again."""
        instance.phase = "gone"
        for event in instance.running.values():
            self.busy.discard(event.key)
        instance.running.clear()
        self.dispatch()
        if self.lag and not self._serving():
            self._want()

    def report(self) -> None:
        """Send a complete reading, and wants while work waits without a replica."""
        if self.conditions.silent:
            return
        runnable = sum(1 for key in self.lanes if key not in self.busy and key not in self.parked)
        reading = TriggerReading(
            subscription=SUBSCRIPTION,
            revision=REVISION,
            lag=self.lag,
            runnable=runnable,
            in_flight=self.in_flight,
            arrived=self.arrived,
            done=len(self.done),
            handler_us=self.handler_us,
            blind=self.conditions.blind,
        )
        if self.conditions.blind:
            reading = msgspec.structs.replace(reading, lag=0, runnable=0, arrived=0, done=0)
        used = {one.name: len(one.running) for one in self.instances if one.running}
        self.readings = Readings(boot_id=self.boot_id, seq=0, triggers=(reading,), used=used)
        self.received = self.clock.now
        waits = self.lag and not self._serving()
        self.wants = {REVISION: Want(revision=REVISION, waiting=self.lag)} if waits else {}
        self.wake()


class Gateway:
    """Serves no request of this function."""

    role = "gateway"
    boot_id = "boot"
    wants: dict[RevisionKey, Want] = {}  # noqa: RUF012 - never filled

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.readings = Readings(boot_id="boot", seq=0)

    @property
    def received(self) -> float:
        return self._clock.now


def subscription(**fields: object) -> Subscription:
    return Subscription(key=SUBSCRIPTION, bus=Key("default", "default"), subject="topic", group="f", **fields)  # type: ignore[arg-type]  # a test's own
