"""A schedule played on an arena: events flow while faults strike, then everything is healed and must converge."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from tests.faults.arena import Arena
from tests.faults.events import letters
from tests.faults.ledger import Verdict
from tests.faults.producers import messages
from tests.faults.schedule import Schedule, Strike
from tests.platform import until

SUBSCRIPTION = "source.plant.readings.ledger"
"""Of the function to the source's events."""
DRAIN = 60.0
"""Seconds within which everything acknowledged is handled once the faults are healed."""
BACKLOG = 120
"""Events that may be under way before the producer waits a little: so that the faults meet work."""
HURRY = 1.0
"""Seconds that it waits at most for one more part: what is sent to a broken platform counts too."""
PATIENCE = 240.0
"""Seconds that the producer of one period may take; reaching it is a failure."""


class Outcome(msgspec.Struct, kw_only=True):
    """What a campaign came to."""

    verdict: Verdict
    drains: list[float]
    """Seconds from healed to drained, per period."""
    seconds: float

    @property
    def clean(self) -> bool:
        return self.verdict.clean and max(self.drains, default=0.0) <= DRAIN

    def __str__(self) -> str:
        slowest = max(self.drains, default=0.0)
        return f"{self.verdict}; {self.seconds:.0f} s, slowest drain {slowest:.1f} s"


def play(
    arena: Arena,
    schedule: Schedule,
    *,
    events: int,
    chunk: int = 40,
    keys: int = 16,
    work: float = 0.002,
    first: int = 0,
    budget: int | None = None,
    backlog: int = BACKLOG,
    until_time: float | None = None,
    tell: Callable[[str], object] = print,
) -> Outcome:
    """Send *events* in each period, numbered from *first*; DRAIN seconds after healing the verdict is final.

    No period begins after monotonic *until_time*.
    """
    began = time.monotonic()
    drains = []
    for number, strikes in enumerate(schedule.periods):
        if until_time is not None and time.monotonic() > until_time:
            break
        numbers = range(first + number * events, first + (number + 1) * events)
        sender = _Sender(arena, numbers, chunk, keys, work, backlog)
        sender.start()
        for strike in strikes:
            sender.wait_for(strike.at)
            arena.strike(strike.kind, strike.seconds)
        sender.finish()
        arena.rest()
        arena.heal()
        drains.append(drain(arena))
        told = f"{_names(strikes)}; {arena.ledger.acked} acknowledged, drained in {drains[-1]:.1f} s"
        tell(f"period {number + 1} of {len(schedule.periods)}: {told}")
        if drains[-1] > DRAIN:
            tell(arena.condition())
            break
    verdict = arena.ledger.verdict(dead(arena), budget=budget)
    return Outcome(verdict=verdict, drains=drains, seconds=time.monotonic() - began)


def _names(strikes: Sequence[Strike]) -> str:
    return ", ".join(strike.kind for strike in strikes) or "calm"


def drain(arena: Arena) -> float:
    """Seconds until nothing acknowledged is missing; more than DRAIN when that never happens."""
    began = time.monotonic()
    while arena.ledger.missing():
        passed = time.monotonic() - began
        if passed > DRAIN / 2 and not arena.ledger.missing(dead(arena)):
            break
        if passed > DRAIN:
            return passed
        time.sleep(0.05)
    return time.monotonic() - began


def dead(arena: Arena) -> list[str]:
    """Ids of the ledger's events in the dead letters; waits for a proxy that is just starting."""

    def read() -> tuple[list[dict[str, Any]]] | None:
        try:
            return (letters(arena.platform, SUBSCRIPTION),)
        except AssertionError:  # it answers, and does not know the trigger yet
            return None

    (found,) = until(read, what="the dead letters")
    return [_id(letter["event"]) for letter in found]


def _id(event: dict[str, Any]) -> str:
    data = event.get("data")
    return str(data["id"]) if isinstance(data, dict) else str(event.get("id"))


class _Sender(threading.Thread):
    """Publishes one period's events, and can be watched."""

    def __init__(self, arena: Arena, numbers: range, chunk: int, keys: int, work: float, backlog: int) -> None:
        super().__init__(daemon=True)
        self._arena, self._numbers, self._chunk, self._keys, self._work = arena, numbers, chunk, keys, work
        self._backlog = backlog
        self._sent = 0
        self._changed = threading.Condition()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            for start in range(0, len(self._numbers), self._chunk):
                part = self._numbers[start : start + self._chunk]
                self._arena.producer.publish(messages(part, keys=self._keys, work=self._work))
                self._advance(len(part))
                self._wait_a_little()
        except BaseException as error:  # it must reach the thread that waits
            self._error = error
        finally:
            self._advance(len(self._numbers))

    def _wait_a_little(self) -> None:
        end = time.monotonic() + HURRY
        while self._arena.ledger.behind() > self._backlog and time.monotonic() < end:
            time.sleep(0.01)

    def _advance(self, count: int) -> None:
        with self._changed:
            self._sent += count
            self._changed.notify_all()

    def wait_for(self, share: float) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self._sent >= share * len(self._numbers), PATIENCE), "it is stuck"

    def finish(self) -> None:
        self.join(PATIENCE)
        assert not self.is_alive(), f"the producer is stuck at {self._sent} of {len(self._numbers)}"
        if self._error is not None:
            raise self._error
