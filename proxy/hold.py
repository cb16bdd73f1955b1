"""What one owner holds at one epoch: the intake, a window per share, and how its events find their revision."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Collection, Hashable

import msgspec

from api.meta import RevisionKey
from api.model import Backend, Subscription
from eventbus.bus import Attempt, Intake
from proxy.bounds import CAPACITY
from proxy.breaker import Breaker
from proxy.lanes import Route
from proxy.loose import LooseWindow
from proxy.meter import Meter
from proxy.receiver import backends_of
from proxy.routing import Routing
from proxy.window import Window
from triggers import filters


def route_over(backends: tuple[Backend, ...]) -> Route:
    """Revision by the hash of the key over the weights: a key stays on its revision while the weights stay."""
    weighted = [backend for backend in backends if backend.weight > 0]
    if len(weighted) < 2:
        only = weighted[0].revision if weighted else None
        return lambda _key, _seq: only
    total = sum(backend.weight for backend in weighted)

    def route(key: str, seq: int) -> Hashable:
        point = (zlib.crc32(key.encode()) if key else seq * 2_654_435_761 % 2**32) % total
        for backend in weighted:
            point -= backend.weight
            if point < 0:
                return backend.revision
        return None

    return route


class Share(msgspec.Struct):
    """Events of one revision in the windows, by what they wait for."""

    held: int = 0
    runnable: int = 0
    parked: int = 0
    in_flight: int = 0


class Hold:
    """Windows and intake of one subscription between open and close."""

    def __init__(self, subscription: Subscription, intake: Intake, meter: Meter, now: float, wall: float) -> None:
        self.subscription = subscription
        self.intake = intake
        self.meter = meter
        self.breaker = Breaker()
        self.over = False
        """Ownership is lost or given up: nothing starts, nothing is written."""
        self.condition = ""
        """A Subscribed reason while it holds."""
        self.predicate = self._compiled(subscription)
        self.routing = Routing(subscription)
        self.windows: dict[int, Window] = {}
        self._blocked: Counter[str] = Counter()
        self._later = {place: now + attempt.not_before - wall for place, attempt in intake.progress.attempts.items()}
        for share in {*intake.progress.floors, *intake.progress.done}:
            self.window(share)

    def window(self, share: int) -> Window:
        """The window of *share*, made from the taken-over progress when its first event comes."""
        window = self.windows.get(share)
        if window is None:
            progress = self.intake.progress
            attempts: dict[int, Attempt] = {
                seq: attempt for (own, seq), attempt in progress.attempts.items() if own == share
            }
            kind = Window if self.subscription.delivery.ordering == "key" else LooseWindow
            window = self.windows[share] = kind(
                share,
                floor=progress.floors.get(share, 0),
                done=progress.done.get(share, ()),
                attempts=attempts,
                route=route_over(self.backends),
                capacity=min(self.subscription.in_flight, CAPACITY),
            )
            for key in self._blocked.elements():
                window.block(key)
        return window

    def block(self, keys: Collection[str]) -> None:
        """Let nothing of *keys* start, in any share."""
        for key in keys:
            self._blocked[key] += 1
            for window in self.windows.values():
                window.block(key)

    def unblock(self, keys: Collection[str]) -> None:
        """Take one block() of each back."""
        for key in keys:
            self._blocked[key] -= 1
            for window in self.windows.values():
                window.unblock(key)

    def not_before(self, share: int, seq: int) -> float | None:
        """Monotonic time before which a taken-over event may not be tried again; None: none is recorded."""
        return self._later.pop((share, seq), None)

    def change(self, subscription: Subscription, now: float) -> None:
        """The resource was edited, not moved to another subject or group; a new revision gets its chance at once."""
        if (subscription.filter, subscription.condition) != (self.subscription.filter, self.subscription.condition):
            self.predicate = self._compiled(subscription)
        before = self.subscription
        if (subscription.rules, subscription.unmatched) != (before.rules, before.unmatched):
            self.routing = Routing(subscription)
        rerouted = (subscription.backends, subscription.sink) != (before.backends, before.sink)
        self.subscription = subscription
        if rerouted:
            self.breaker.success()
            for window in self.windows.values():
                window.reroute(route_over(self.backends))
                window.hasten(now)

    def _compiled(self, subscription: Subscription) -> filters.Predicate:
        return filters.compile(subscription.filter, subscription.condition, self.meter.cannot_tell)

    @property
    def backends(self) -> tuple[Backend, ...]:
        return backends_of(self.subscription)

    @property
    def revisions(self) -> tuple[RevisionKey, ...]:
        return tuple(backend.revision for backend in self.backends if backend.weight > 0)

    @property
    def capacity(self) -> int:
        return min(self.subscription.in_flight, CAPACITY)

    @property
    def held(self) -> int:
        return sum(map(len, self.windows.values()))

    @property
    def asleep(self) -> int:
        """Of those held, the ones that wait for a far retry outside of their window."""
        return sum(window.asleep for window in self.windows.values() if isinstance(window, LooseWindow))

    @property
    def room(self) -> int:
        return min((window.room for window in self.windows.values()), default=self.capacity)

    @property
    def in_flight(self) -> int:
        return sum(window.in_flight for window in self.windows.values())

    @property
    def parked(self) -> int:
        return sum(window.parked for window in self.windows.values())

    @property
    def runnable(self) -> int:
        return sum(window.runnable for window in self.windows.values())

    def wanting(self) -> dict[RevisionKey, int]:
        """Revision -> distinct keys that could start there now."""
        found: dict[RevisionKey, int] = {}
        for window in self.windows.values():
            for route in window.routes():
                if isinstance(route, RevisionKey):
                    found[route] = found.get(route, 0) + window.runnable_of(route)
        return found

    @property
    def floor(self) -> int:
        return max((window.floor for window in self.windows.values()), default=0)

    def shares(self) -> dict[RevisionKey, Share]:
        """What is held, by the revision it goes to."""
        revisions = self.revisions
        if len(revisions) == 1:
            return {
                revisions[0]: Share(
                    held=self.held, runnable=self.runnable, parked=self.parked, in_flight=self.in_flight
                )
            }
        found = {revision: Share(runnable=keys) for revision, keys in self.wanting().items()}
        route = route_over(self.backends)
        for window in self.windows.values():
            for entry in window:
                revision = route(entry.lane.key, entry.seq)
                if isinstance(revision, RevisionKey):
                    share = found.setdefault(revision, Share())
                    share.held += 1
                    share.parked += entry.state == "parked"
                    share.in_flight += entry.state in {"started", "unknown"}
        return found

    def oldest_age(self, now: float, wall: float) -> float:
        """Seconds since the oldest event that is not done was published; 0 when there is none."""
        heads = (head for window in self.windows.values() if (head := window.oldest()))
        return max((wall - head.published if head.published else now - head.arrived for head in heads), default=0.0)
