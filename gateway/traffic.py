"""Counters of what passes through the gateway: per revision for the autoscaler, per function for people."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping

from api.frames import RouteReading
from api.meta import Key, RevisionKey
from replicas.traffic import RevisionTraffic

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Upper bounds of the histogram's buckets, in seconds."""


class Histogram:
    """Counts by upper bound; the last bucket has none."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds


class FunctionTraffic:
    """Requests of one function: rate, errors by class, duration."""

    __slots__ = ("active", "codes", "cold", "durations", "queued", "waiting")

    def __init__(self) -> None:
        self.active = self.waiting = self.queued = 0
        self.codes: dict[str, int] = {}
        """``2xx`` and the like: as many as there are classes, whatever functions answer."""
        self.durations = Histogram()
        self.cold = Histogram()

    def finish(self, status: int, seconds: float) -> None:
        code = f"{status // 100}xx" if 100 <= status < 600 else "none"
        self.codes[code] = self.codes.get(code, 0) + 1
        self.durations.observe(seconds)


class Traffic:
    """All counters of one gateway; only functions that are routed have any."""

    def __init__(self) -> None:
        self._revisions: dict[RevisionKey, RevisionTraffic] = {}
        self._functions: dict[Key, FunctionTraffic] = {}
        self.rejected = 0
        """Requests that no function was found for."""
        self.forged = 0
        """Header lines dropped because only the platform may set them."""

    def revision(self, key: RevisionKey) -> RevisionTraffic:
        return self._revisions.get(key) or self._revisions.setdefault(key, RevisionTraffic())

    def function(self, key: Key) -> FunctionTraffic:
        return self._functions.get(key) or self._functions.setdefault(key, FunctionTraffic())

    @property
    def functions(self) -> Mapping[Key, FunctionTraffic]:
        return self._functions

    def waiting(self) -> Iterable[tuple[RevisionKey, int]]:
        """Revisions that requests are held for."""
        return [(key, seen.waiting) for key, seen in self._revisions.items() if seen.waiting]

    def waiting_for(self, revision: RevisionKey) -> int:
        """Requests held for *revision*."""
        seen = self._revisions.get(revision)
        return seen.waiting if seen else 0

    def keep(self, functions: Collection[Key], revisions: Collection[RevisionKey]) -> None:
        """Know these, and of others only what still runs."""
        for key in functions:
            self.function(key)
        for revision in revisions:
            self.revision(revision)
        self._functions = {key: seen for key, seen in self._functions.items() if key in functions or seen.active}
        self._revisions = {
            key: seen for key, seen in self._revisions.items() if key in revisions or seen.in_flight or seen.waiting
        }

    def readings(self) -> tuple[RouteReading, ...]:
        return tuple(seen.reading(key) for key, seen in self._revisions.items())
