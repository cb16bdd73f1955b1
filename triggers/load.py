"""What all agents together see of one revision, and how many replicas that asks for; pure.

Little's law (work per second x time per work = work in progress) plus what drains the backlog in time. Whether and when
the answer is followed is the autoscaler's matter.
"""

from __future__ import annotations

import math
from datetime import timedelta

import msgspec

DRAIN_EVENTS = 2.0
"""Seconds in which waiting events should be worked off."""
DRAIN_REQUESTS = 1.0
"""Seconds in which held requests should be: somebody waits for each."""
MOST = 1e15
"""A number above this is a broken reading."""
STALE = timedelta(seconds=10)
"""A reading older than this tells nothing."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over the readings of one revision; rates per second."""

    lag: float = 0
    """Events not yet done, those in flight included."""
    runnable: float = 0
    """Distinct keys that could start now."""
    events: float = 0
    """Events in flight."""
    in_flight: float = 0
    """Events and requests in flight."""
    waiting: float = 0
    """Requests held because no replica has room."""
    arrived: float = 0
    """Events and requests that came since the decision before."""
    event_rate: float = 0
    request_rate: float = 0
    handler_seconds: float = 0
    """Mean time at the handler; 0: nothing was timed yet."""
    credit: float = 1
    """Events or requests in flight that one replica takes."""
    ready: int = 0
    starting: int = 0
    idle: int = 0
    """Ready replicas with nothing in flight."""
    blind: str = ""
    """Why something of the above cannot be told."""
    age: timedelta = timedelta()
    """Age of the oldest reading that went in."""

    @property
    def current(self) -> int:
        return self.ready + self.starting

    @property
    def work(self) -> bool:
        """Whether anything waits or runs now; a rate alone tells of what has been."""
        return self.lag > 0 or self.in_flight > 0 or self.waiting > 0

    @property
    def backlog(self) -> float:
        """Events that wait beyond the next in line: one behind each that is in flight is no reason to grow."""
        return max(0.0, self.lag - 2 * self.events)


_NUMBERS = tuple(name for name in Load.__struct_fields__ if name not in {"blind", "age"})


def trusted(load: Load) -> Load:
    """*load* with every number within 0..MOST; blind if one was not, or if a reading is too old."""
    wrong = [name for name in _NUMBERS if not 0 <= getattr(load, name) <= MOST]  # nan is not either
    fixed: dict[str, object] = dict.fromkeys(wrong, 0)
    if wrong:
        fixed["blind"] = load.blind or f"{wrong[0]} reads {getattr(load, wrong[0])}"
    elif load.age > STALE and not load.blind:
        fixed["blind"] = f"the last reading is {load.age.total_seconds():.0f} s old"
    if not load.credit >= 1 or "credit" in wrong:
        fixed["credit"] = 1
    return msgspec.structs.replace(load, **fixed) if fixed else load


def asked(load: Load, use: float) -> tuple[int, bool]:
    """Replicas that carry a trusted *load* with *use* (0..1) of their credit, and whether runnable keys limited them.

    Never below what is in flight, and at least one while any work is there; work, and not a rate, wakes.
    """
    if not load.work and not load.current:
        return 0, False
    events = (load.event_rate + load.backlog / DRAIN_EVENTS) * load.handler_seconds / use
    requests = (load.request_rate + load.waiting / DRAIN_REQUESTS) * load.handler_seconds / use
    useful = load.runnable + load.events
    busy = math.ceil(load.in_flight / load.credit)
    least = max(busy, int(load.work))
    count = max(_replicas(requests + min(events, useful), load.credit), least)
    return count, _replicas(requests + events, load.credit) > count


def _replicas(work: float, credit: float) -> int:
    return math.ceil(work / credit)
