"""Short pauses of the garbage collector in a process that delivers: what survived a long collection is left out of the
next ones.

A full collection looks at every object there is. With hundreds of subscriptions that are hundreds of thousands, all of
which live on, and tens of milliseconds in which nothing is delivered.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping

LONG = 0.005
"""Seconds of a full collection after which its survivors count as permanent."""
THAW = 3600.0
"""Seconds after which everything is looked at once more: a subscription that has ended leaves cycles behind."""


class Pauses:
    """A callback of the collector (gc.callbacks)."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = self._thawed = clock()

    def __call__(self, phase: str, info: Mapping[str, int]) -> None:
        if info["generation"] < 2:
            return
        now = self._clock()
        if phase == "start":
            self._began = now
            if now - self._thawed > THAW:
                self._thawed = now
                gc.unfreeze()
        elif now - self._began > LONG:
            gc.freeze()


def shorten_pauses() -> None:
    """For the rest of this process."""
    gc.callbacks.append(Pauses())
