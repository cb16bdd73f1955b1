"""Counters of the requests that one agent brings to a revision, as the autoscaler is told of them."""

from __future__ import annotations

from api.frames import RouteReading
from api.meta import RevisionKey

SMOOTHING = 0.1
"""Weight of the newest handler time in its mean."""


class RevisionTraffic:
    """What one revision has in flight and had; counters only grow."""

    __slots__ = ("arrived", "done", "failed", "handler_us", "in_flight", "waiting")

    def __init__(self) -> None:
        self.in_flight = self.waiting = 0
        self.arrived = self.done = self.failed = 0
        self.handler_us = 0.0

    def finish(self, seconds: float, *, failed: bool) -> None:
        micros = seconds * 1e6
        self.handler_us = micros if not self.done else self.handler_us + SMOOTHING * (micros - self.handler_us)
        self.done += 1
        self.failed += failed

    def reading(self, revision: RevisionKey) -> RouteReading:
        return RouteReading(
            revision=revision,
            in_flight=self.in_flight,
            waiting=self.waiting,
            arrived=self.arrived,
            done=self.done,
            failed=self.failed,
            handler_us=round(self.handler_us, 1),
        )
