"""What every owner of one proxy process shares: the way to replicas, the turns, the control stream, the clocks."""

from __future__ import annotations

import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from api.errors import NotFound
from api.frames import Frame
from api.meta import Key
from api.model import Join, Option
from eventbus.bus import EventBus
from eventbus.errors import Unreachable
from proxy.dapr.directory import Directory
from proxy.dapr.streams import Streams
from proxy.demand import Pulls
from proxy.settings import as_written
from proxy.turns import Turns
from replicas.apps.connect import Apps
from replicas.http import HttpClient
from replicas.table import ReplicaTable


def _spread() -> float:
    return random.uniform(-1.0, 1.0)  # noqa: S311 - jitter, nothing secret


def _nothing() -> None:
    return None


def _no_bus(key: Key) -> EventBus:
    raise Unreachable(f"event bus {key} is not declared")


def _no_join(_key: Key) -> Join | None:
    return None


async def _no_binding(_function: Key, name: str, _data: bytes) -> None:
    raise NotFound(f"couldn't find output binding {name}")


@dataclass(frozen=True, kw_only=True)
class Wiring:
    http: HttpClient
    outside: HttpClient = field(default_factory=HttpClient)
    """For addresses that users name."""
    apps: Apps = field(default_factory=lambda: Apps(HttpClient()))
    """The ways to Dapr apps."""
    table: ReplicaTable
    send: Callable[[Frame], object]
    """Frame up the control stream; dropped while there is none, for everything that matters is sent again."""
    turns: Turns = field(default_factory=Turns)
    pulls: Pulls = field(default_factory=Pulls)
    streams: Streams = field(default_factory=Streams)
    stuck: Counter[str] = field(default_factory=Counter)
    """Replicas whose handler is past its deadline and may still run."""
    condemned: deque[str] = field(default_factory=lambda: deque(maxlen=256))
    """Those that were reported as stuck: what else ran there is not to blame for their end."""
    changed: Callable[[], None] = _nothing
    """Some reading changed in a way that somebody waits for."""
    bus: Callable[[Key], EventBus] = _no_bus
    """The connected bus of that key; raises Unreachable."""
    join: Callable[[Key], Join | None] = _no_join
    """The join of that key, as it is declared now."""
    directory: Directory = field(default_factory=Directory)
    """What functions and components are to the Dapr API."""
    resolve: Callable[[str, Option], str] = as_written
    """(namespace, option) -> its text, secrets included."""
    bind: Callable[[Key, str, bytes], Awaitable[None]] = _no_binding
    """(function, its output binding, data): what the app said is to go there. Raises EvokeError."""
    clock: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    """Unix seconds: for deadlines and ages that leave the process."""
    spread: Callable[[], float] = _spread
    """Random draw in -1..1."""
