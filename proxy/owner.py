"""The owner of one subscription: opens it, runs it in one task, gives it up, and says what it sees.

Ownership comes and goes with the bus; windows and epoch with it. Counters stay.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

from api.errors import EvokeError, InvalidInput
from api.frames import TriggerReading, Want
from api.meta import RevisionKey
from api.model import Subscription
from eventbus.bus import EventBus, Incoming, Intake
from eventbus.errors import BusError
from eventbus.ticks import pause
from proxy.commits import Commits
from proxy.deliver import Outflow
from proxy.hold import Hold
from proxy.intake import Inflow
from proxy.loose import LooseWindow
from proxy.meter import Meter
from proxy.reading import View, readings
from proxy.receiver import with_sink
from proxy.settle import Settler
from proxy.stream_table import streams_of
from proxy.wiring import Wiring

log = logging.getLogger(__name__)

REOPEN = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds before the subscription is opened again; the last one repeats."""
SETTLED = 10.0
"""Seconds of ownership after which the next loss counts as the first."""
TICK = 1.0
SPREAD = 0.2
"""Part of a tick by which it may be longer: hundreds of owners that began together would all ask the broker at once."""
LAST_WAIT = 25.0
"""Seconds for which work in flight is awaited when the ownership ends."""
WANT_EVERY = 1.0
MOVES = 64
"""Events that are moved to the end of their subject in one step."""


class Owner:
    def __init__(self, subscription: Subscription, bus: Callable[[], EventBus], wiring: Wiring, worker: str) -> None:
        self.subscription = subscription
        self._bus = bus
        """The connected bus; raises Unreachable."""
        self._streams = streams_of(wiring, subscription)
        self._wiring = wiring if subscription.sink is None else with_sink(wiring, subscription, self.poke)
        if self._streams is not None:
            self._wiring = replace(wiring, table=self._streams)
            self._streams.subscribe(lambda _revision: self.poke())
        self._worker = worker
        self._meter = Meter()
        self.hold: Hold | None = None
        self._stir = asyncio.Event()
        self._stopping = False
        self._failure = "not opened yet"
        self._condition = ""
        self._task: asyncio.Task[None] | None = None
        self._wanted: dict[RevisionKey, float] = {}
        self._idle = True

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"owner of {self.subscription.key}")

    async def stop(self) -> None:
        """Give the subscription up: nothing new starts, what is in flight is awaited, progress is written."""
        self._stopping = True
        self._stir.set()
        if self._task is not None:
            await self._task
        if self._streams is not None:
            self._streams.leave()

    def change(self, subscription: Subscription) -> None:
        """Take an edit that needs no reopening: see moved()."""
        self.subscription = subscription
        if self._streams is not None:
            self._streams.follow(subscription)
        if self.hold is not None:
            try:
                self.hold.change(subscription, self._wiring.clock())
            except InvalidInput as error:
                self._meter.last_error = str(error)
            self._outflow.change()
            self._stir.set()

    def moved(self, subscription: Subscription) -> bool:
        """Whether *subscription* stands elsewhere, so that this owner must go and a new one come."""
        return _place(self.subscription) != _place(subscription)

    @property
    def running(self) -> bool:
        return self.hold is not None and not self.hold.over and not self._stopping

    def turn(self, events: int, size: int) -> tuple[int, int]:
        """Player's turn."""
        return self._outflow.turn(events, size) if self.running else (0, 0)

    def retry(self) -> None:
        """The bus has come: end the pause before the next try to open it."""
        self._stir.set()

    def poke(self) -> None:
        """Endpoints or credit changed."""
        if self._streams is not None:
            self._streams.look()
        for revision in [one for one in self._wanted if self._wiring.table.ready(one)]:
            del self._wanted[revision]  # the next want of it is a new one, and goes at once
        if not self.running:
            return
        self._inflow.ask()
        assert self.hold is not None
        if self.hold.runnable:
            self._wiring.turns.ready(self)
            self._want()
        if self._inflow.armed == bool(self._inflow.credit):
            self._stir.set()

    def held_for(self, revision: RevisionKey) -> int | None:
        """Events of *revision* that are not done; None: it cannot be told now."""
        if self.hold is None or self.hold.over or self._inflow.blind_reason:
            return None
        share = self.hold.shares().get(revision)
        return share.held if share else 0

    async def sleep(self, revision: RevisionKey) -> bool:
        """Arm the doorbell after the last endpoint went, and check the level; False: work is there, or in doubt."""
        level = await self._inflow.arm()
        if level is None or self.held_for(revision) != 0:
            return False
        return level * self._meter.ratio < 0.5

    def readings(self) -> list[TriggerReading]:
        """One for each revision that events may go to."""
        hold = self.hold if self.hold is not None and not self.hold.over else None
        view = View(
            subscription=self.subscription,
            hold=hold,
            meter=self._meter,
            pending=(self._inflow.pending or 0) if hold else 0,
            blind=self._inflow.blind_reason if hold else self._failure,
            condition=self._condition,
            times=self._outflow.times if hold else {},
        )
        return readings(view, self._wiring)

    def wants(self) -> list[Want]:
        """Revisions with work and without any ready replica."""
        if not self.running:
            return []
        assert self.hold is not None
        table = self._wiring.table
        return [
            Want(revision=revision, generation=table.generation(revision), waiting=count, reason="event waiting")
            for revision, count in self.hold.wanting().items()
            if not table.ready(revision)
        ]

    async def _run(self) -> None:
        failures = 0
        while not self._stopping:
            began = self._wiring.clock()
            try:
                bus = self._bus()
                intake = await bus.open(self.subscription, worker=self._worker, deliver=self._deliver, lost=self._lost)
                await self._serve(bus, intake)
            except EvokeError as error:  # of the bus, or of a filter that an older release accepted
                self._fail(error)
            except Exception as error:  # a defect of ours must not end the subscription: it starts over from the bus
                log.exception("subscription %s starts over", self.subscription.key)
                self._fail(EvokeError(repr(error)))
            failures = 0 if self._wiring.clock() - began > SETTLED else failures + 1
            self._stir.clear()
            if not self._stopping:
                await self._pause(REOPEN[min(failures, len(REOPEN) - 1)])

    def _fail(self, error: EvokeError) -> None:
        self._failure, self._condition = str(error), "BusUnreachable"
        self._meter.last_error = str(error)
        log.warning("subscription %s is not open: %s", self.subscription.key, error)
        self._wiring.changed()

    async def _serve(self, bus: EventBus, intake: Intake) -> None:
        wiring = self._wiring
        hold = Hold(self.subscription, intake, self._meter, wiring.clock(), wiring.wall())
        self._commits = Commits(hold)
        self._settler = Settler(hold, bus, wiring, self._commits, self._stir.set)
        self._inflow = Inflow(hold, wiring, self._settler, self._arrived)
        self._outflow = Outflow(hold, bus, wiring, self._settler, fenced=self._lost, again=self.poke)
        self.hold, self._failure, self._condition = hold, "", ""
        try:
            while not (hold.over or self._stopping):
                self._stir.clear()
                await self._step(hold)
                await self._pause(self._next(hold))
        finally:
            wiring.turns.leave(self)
            self._inflow.stop()
            await self._end(hold)

    async def _step(self, hold: Hold) -> None:
        now = self._wiring.clock()
        for window in hold.windows.values():
            for entry in window.wake(now):
                self._settler.restore(window, entry)
            if isinstance(window, LooseWindow):
                for entry, until in window.pinning(MOVES):
                    self._settler.move(window, entry, until)
        self._expire(hold)
        await self._inflow.sleep_or_wake()
        self._inflow.watch(now)
        self._inflow.ask()
        if self._commits.due(now):
            await self._commits.commit(now)
        if hold.runnable:
            self._wiring.turns.ready(self)
            self._want()
        if self._idle != (not hold.held):
            self._idle = not hold.held
            self._wiring.changed()

    def _next(self, hold: Hold) -> float:
        """Seconds until there is something to do without being stirred."""
        times = [window.next_wake() for window in hold.windows.values()]
        times += [self._commits.next(), hold.breaker.next_probe if hold.breaker.open and hold.runnable else None]
        now = self._wiring.clock()
        tick = pause(now, TICK, SPREAD * (1 + self._wiring.spread()) / 2)
        return min([tick, *(max(0.001, time - now) for time in times if time is not None)])

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stir.wait()
        except TimeoutError:
            pass

    async def _end(self, hold: Hold) -> None:
        """Write what can still be written; after a loss only wait, so that no key is in flight twice."""
        limit = min(hold.subscription.delivery.timeout.total_seconds() + 2, LAST_WAIT)
        await self._outflow.finish(limit)
        try:
            async with asyncio.timeout(limit):
                if not hold.over:
                    await self._settler.finish()
                    await self._commits.commit(self._wiring.clock())
        except TimeoutError:
            log.warning("subscription %s is given up with writes pending", self.subscription.key)
        hold.over = True
        for chore in self._settler.chores:
            chore.cancel()
        try:
            await hold.intake.close()
        except BusError as error:
            log.info("closing %s: %s", self.subscription.key, error)

    def _deliver(self, events: Sequence[Incoming]) -> None:
        if self.running:
            self._inflow.deliver(events)

    def _arrived(self) -> None:
        """Events that match came in."""
        self._wiring.turns.ready(self)
        self._want()
        if self._idle:
            self._stir.set()

    def _lost(self, reason: str) -> None:
        if self.hold is not None and not self.hold.over:
            log.info("subscription %s is lost: %s", self.subscription.key, reason)
            self.hold.over = True
            self._failure = reason
            self._stir.set()

    def _want(self) -> None:
        """Ask for a replica at once; repeated with every reading while it is true."""
        now = self._wiring.clock()
        for want in self.wants():
            if now - self._wanted.get(want.revision, -WANT_EVERY) >= WANT_EVERY:
                self._wanted[want.revision] = now
                self._wiring.send(want)
                self._wiring.changed()

    def _expire(self, hold: Hold) -> None:
        limit = hold.subscription.delivery.max_age
        if limit is None:
            return
        cutoff = self._wiring.wall() - limit.total_seconds()
        for window in hold.windows.values():
            for entry in window.expired(cutoff):
                self._settler.bury(window, entry, "expired", f"older than {limit}")


def _place(subscription: Subscription) -> tuple[object, ...]:
    """Identify what an owner cannot change while it holds events."""
    delivery, taken = subscription.delivery, (subscription.sink is not None, subscription.form == "stream")
    return subscription.bus, subscription.subject, subscription.group, delivery.ordering, subscription.in_flight, taken
