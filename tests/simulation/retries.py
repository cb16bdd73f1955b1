"""The windows, the policy and the breaker of a real owner on virtual time; broker, receiver and crashes are drawn."""

from __future__ import annotations

from collections import Counter
from random import Random

import msgspec

from api.delivery import DeliveryPolicy
from eventbus.bus import Attempt, Incoming
from proxy.breaker import Breaker
from proxy.lanes import Entry
from proxy.loose import FAR, LooseWindow
from proxy.outcomes import DONE, Bury, Done, Outcome, Park, judge
from proxy.window import Window
from tests.simulation.clock import Clock

REJECTED = Outcome("rejected", "no")
CREDIT = 8


class Stored(msgspec.Struct, frozen=True):
    number: int
    """Of the event; it keeps it where it is moved."""
    key: str
    attempts: int = 0
    not_before: float = 0.0


class Broker(msgspec.Struct):
    """What survives an owner."""

    events: list[Stored] = []
    floor: int = 0
    done: set[int] = set()
    attempts: dict[int, Attempt] = {}


class World:
    def __init__(self, clock: Clock, random: Random, policy: DeliveryPolicy, capacity: int) -> None:
        self.clock, self.random, self.policy, self.capacity = clock, random, policy, capacity
        self.broker = Broker()
        self.failing = self.rejecting = 0.0
        """Shares of attempts."""
        self.finished: set[int] = set()
        self.dead: Counter[int] = Counter()
        self.charged: Counter[int] = Counter()
        self.earliest: dict[int, float] = {}
        self.most_held = self.moved = 0
        self.life = 0
        self.crash()
        clock.every(1.0, self._commit)

    def publish(self, key: str) -> None:
        number = sum(1 for one in self.broker.events if not one.attempts)
        self.broker.events.append(Stored(number, key))
        self.pump()

    def crash(self) -> None:
        """The owner dies, what it ran with it; another begins with what was written."""
        self.life += 1
        broker = self.broker
        kind = Window if self.policy.ordering == "key" else LooseWindow
        attempts = {seq: one for seq, one in broker.attempts.items() if seq > broker.floor}
        self.window: Window = kind(
            0, floor=broker.floor, done=set(broker.done), attempts=attempts, capacity=self.capacity
        )
        self.breaker = Breaker()
        self.received = broker.floor
        self.pump()

    @property
    def awake(self) -> int:
        return len(self.window) - (self.window.asleep if isinstance(self.window, LooseWindow) else 0)

    def pump(self) -> None:
        """Receive what there is room for, start what may start."""
        now = self.clock.now
        for entry in self.window.wake(now):
            self.window.restore(entry, b"event")
        while self.received < len(self.broker.events) and self.window.room and not (self.breaker.open and self.awake):
            self.received += 1
            self._receive(self.received, now)
        self.most_held = max(self.most_held, self.awake)
        while self.window.in_flight < CREDIT and self.breaker.allows(now, in_flight=self.window.in_flight):
            batch = self.window.take(None, 1)
            if not batch:
                break
            self._start(batch[0])

    def _receive(self, seq: int, now: float) -> None:
        stored = self.broker.events[seq - 1]
        entry = self.window.receive(Incoming(0, seq, stored.key, b"event"), now)
        if entry is None:
            return
        later = self.broker.attempts[seq].not_before if seq in self.broker.attempts else stored.not_before
        entry.attempts = max(entry.attempts, stored.attempts)
        if later > now:
            self._park(entry, later)

    def _start(self, entry: Entry) -> None:
        now, number = self.clock.now, self._number(entry)
        if entry.key:
            before = [one.number for one in self.broker.events[: entry.seq - 1] if one.key == entry.key]
            assert self.finished.issuperset(before), f"event {number} overtook another of its key"
        assert now >= self.earliest.get(number, 0.0), f"event {number} was tried before its time"
        life = self.life
        self.clock.after(self.random.uniform(0.001, 0.2), lambda: self._end(entry, life))

    def _end(self, entry: Entry, life: int) -> None:
        draw = self.random.random()
        outcome = DONE
        if draw < self.failing:
            outcome = Outcome("failed", "HTTP 503")
        elif draw < self.failing + self.rejecting:
            outcome = REJECTED
        if outcome is DONE:
            self.finished.add(self._number(entry))  # it ran, whoever still hears of it
        if life != self.life:
            return
        self._settle(entry, outcome)
        self.clock.note(life, entry.seq, outcome.kind, entry.attempts)
        self.pump()

    def _settle(self, entry: Entry, outcome: Outcome) -> None:
        now, number = self.clock.now, self._number(entry)
        verdict = judge(self.policy, outcome, attempts=entry.attempts, alone=True, spread=self.random.uniform(-1, 1))
        match verdict:
            case Done():
                self.window.finish(entry)
                self.breaker.success()
            case Park(attempts=attempts, delay=delay):
                self.charged[number] = attempts
                until = now + delay.total_seconds()
                self.earliest[number] = until
                self.broker.attempts[entry.seq] = Attempt(count=attempts, not_before=until)
                self.breaker.failure(now, parked=self.window.parked, capacity=self.capacity)
                entry.attempts = attempts
                self._park(entry, until)
            case Bury():
                self.window.condemn(entry)
                self.dead[number] += 1
                self.finished.add(number)
                self.window.finish(entry)

    def _park(self, entry: Entry, until: float) -> None:
        self.window.park(entry, until, attempts=entry.attempts)
        if isinstance(self.window, LooseWindow) and until - self.clock.now > FAR:
            self.window.leave(entry, until)

    def _commit(self) -> None:
        window = self.window
        self.broker.floor, self.broker.done = window.floor, set(window.done_above())
        if isinstance(window, LooseWindow):
            for entry, until in window.pinning(8):
                self.broker.events.append(Stored(self._number(entry), entry.key, entry.attempts, until))
                window.condemn(entry)
                window.finish(entry)
                self.moved += 1
        self.pump()

    def _number(self, entry: Entry) -> int:
        return self.broker.events[entry.seq - 1].number
