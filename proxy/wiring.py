"""What every owner of one proxy process shares: the way to replicas, the turns, the control stream, the clocks."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from api.frames import Frame
from proxy.turns import Turns
from replicas.http import HttpClient
from replicas.table import ReplicaTable


def _spread() -> float:
    return random.uniform(-1.0, 1.0)  # noqa: S311 - jitter, nothing secret


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True)
class Wiring:
    http: HttpClient
    table: ReplicaTable
    send: Callable[[Frame], object]
    """Frame up the control stream; dropped while there is none, for everything that matters is sent again."""
    turns: Turns = field(default_factory=Turns)
    stuck: Counter[str] = field(default_factory=Counter)
    """Replicas whose handler is past its deadline and may still run."""
    condemned: deque[str] = field(default_factory=lambda: deque(maxlen=256))
    """Those that were reported as stuck: what else ran there is not to blame for their end."""
    changed: Callable[[], None] = _nothing
    """Some reading changed in a way that somebody waits for."""
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    """Unix seconds: for deadlines and ages that leave the process."""
    spread: Callable[[], float] = _spread
    """Random draw in -1..1."""
