"""The inflow of one owner: asks the broker for events, filters them before anything is activated, watches the level.

Awake (some replica is ready) it keeps a look-ahead of the replicas' credit. Asleep it arms the doorbell and reads the
level every second; a ring or a level above zero makes it look at the next few events, and only one that matches wakes
the function.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

import msgspec

from eventbus.bus import Incoming
from eventbus.cloudevents import Malformed as NoEvent
from eventbus.cloudevents import heading
from eventbus.errors import BusError
from proxy.demand import demand
from proxy.hold import Hold
from proxy.loose import FAR, LooseWindow
from proxy.marks import flaw_of
from proxy.moved import unmark
from proxy.settle import Settler
from proxy.wiring import Wiring
from triggers.filters import Malformed, always

log = logging.getLogger(__name__)

LEVEL_EVERY = 1.0
LEVEL_TIMEOUT = 5.0


class Inflow:
    def __init__(self, hold: Hold, wiring: Wiring, settler: Settler, started: Callable[[], None]) -> None:
        self._hold, self._wiring, self._settler = hold, wiring, settler
        self._started = started
        """Something may be startable now."""
        self.pending: int | None = None
        """Events behind the last one received, as last read; None: not read yet."""
        self.blind = ""
        self.armed = False
        self._rung = False
        self._level_at = 0.0
        self._levelling: asyncio.Task[None] | None = None

    @property
    def credit(self) -> int:
        """Credit of all ready replicas, busy or not."""
        table, subscription = self._wiring.table, self._hold.subscription
        ready = [endpoint for revision in self._hold.revisions for endpoint in table.ready(revision)]
        if subscription.bulk_subscribe:  # a call of an app takes a whole batch
            return sum(one.credit * (1 if one.protocol == "evoke" else subscription.bulk) for one in ready)
        return sum(endpoint.credit for endpoint in ready)

    @property
    def blind_reason(self) -> str:
        """Why the lag cannot be told; empty when it can."""
        return self.blind or ("the level was not read yet" if self.pending is None else "")

    def deliver(self, events: Sequence[Incoming]) -> None:
        """Take events of the broker: what no filter matches is done at once."""
        hold = self._hold
        if hold.over:
            return
        now = self._wiring.clock()
        matched = size = 0
        for event in events:
            size += len(event.payload)
            matched += self._admit(event, now)
        if self.pending:
            self.pending = max(0, self.pending - len(events))
        if events:
            hold.meter.intake(len(events), matched, size)
            self._wiring.pulls.asked(self, hold.intake.outstanding() * hold.meter.size)
        if matched:
            self._started()
        elif not hold.held and not hold.intake.outstanding():
            self._rung = True  # nothing matched so far: look further
            self.ask()

    def _admit(self, event: Incoming, now: float) -> bool:
        """Hold one event if it matches; what can be told to fail goes to the dead letters without a try."""
        hold, flaw = self._hold, ""
        moved = unmark(event.payload)
        if moved is not None:
            event = msgspec.structs.replace(event, payload=moved.payload)
        try:
            fits = self._fits(event)
        except (Malformed, NoEvent) as error:
            fits, flaw = True, f"malformed: {error}"
        end = hold.routing.ends(event.payload) if fits and not flaw else None
        if end is not None and end.kind == "unmatched" and hold.subscription.delivery.dead_letter is None:
            fits = False  # no rule of the app wants it, and nobody the letter: it is done with, as in Dapr
        window = hold.window(event.share)
        entry = window.receive(event, now, matched=fits)
        if entry is None:
            self._settler.passed(window)
            return False
        later = hold.not_before(event.share, event.seq)
        if moved is not None and not entry.attempts:
            entry.attempts, later = moved.attempts, now + moved.not_before - self._wiring.wall()
        if flaw:
            self._settler.bury(window, entry, "malformed", flaw)
        elif end is not None:
            self._settler.bury(window, entry, end.kind, end.error)
        elif reason := flaw_of(event.payload, self._wiring.wall()):
            self._settler.bury(window, entry, *reason)
        elif entry.attempts >= hold.subscription.delivery.max_attempts:
            self._settler.bury(window, entry, "max-attempts", entry.error)
        elif later is not None and later > now:
            window.park(entry, later, attempts=entry.attempts, error=entry.error)
            if isinstance(window, LooseWindow) and later - now > FAR:
                window.leave(entry, later)
        return True

    def _fits(self, event: Incoming) -> bool:
        """Whether the subscription wants the event; raises Malformed or NoEvent for what is none."""
        if event.flaw:
            raise NoEvent(event.flaw)
        predicate = self._hold.predicate
        if predicate is always:
            heading(event.payload)
            return True
        return predicate(event.payload)

    def ask(self) -> None:
        """Ask the broker for what the replicas, the window and the breaker allow."""
        hold = self._hold
        if hold.over or not hold.backends:
            return
        held = hold.held - hold.asleep
        if hold.breaker.open and held:
            return
        credit = self.credit
        if not credit and not self._rung:
            return
        outstanding = hold.intake.outstanding()
        events = demand(
            credit=credit,
            capacity=hold.capacity,
            held=held,
            outstanding=outstanding,
            room=hold.room,
            size=hold.meter.size,
            pull=self._wiring.pulls.left(self),
        )
        if events:
            self._rung = False
            hold.intake.request(events)
        self._wiring.pulls.asked(self, (outstanding + events) * hold.meter.size)

    def bell(self) -> None:
        """An event was stored while nobody was ready for it."""
        if not self._rung and not self._hold.over:
            self._rung = True
            self.ask()

    async def arm(self) -> int | None:
        """Arm the doorbell and read the level behind it; None when that failed, and so nothing is known."""
        try:
            async with asyncio.timeout(LEVEL_TIMEOUT):
                level = await self._hold.intake.arm(self.bell)
        except (BusError, TimeoutError) as error:
            self.blind = str(error) or "the bus did not tell its level in time"
            return None
        self.armed = True
        self._know(level)
        return level

    async def sleep_or_wake(self) -> None:
        """Arm when the last replica is gone, disarm when the first is there."""
        asleep = not self.credit
        if asleep and not self.armed:
            await self.arm()
        elif not asleep and self.armed:
            self.armed = False
            try:
                await self._hold.intake.disarm()
            except BusError as error:
                log.info("doorbell of %s stays armed: %s", self._hold.subscription.key, error)

    def watch(self, now: float) -> None:
        """Read the level when it is time, one reading at a time."""
        if now < self._level_at or (self._levelling is not None and not self._levelling.done()):
            return
        self._level_at = now + LEVEL_EVERY
        self._levelling = asyncio.get_running_loop().create_task(self._level())

    async def _level(self) -> None:
        try:
            async with asyncio.timeout(LEVEL_TIMEOUT):
                self._know(await self._hold.intake.pending())
        except (BusError, TimeoutError) as error:
            self.blind = str(error) or "the bus did not tell its level in time"

    def _know(self, level: int) -> None:
        self.pending, self.blind = level, ""
        if level:
            self._rung = self._rung or not self.credit
            self.ask()

    def stop(self) -> None:
        self._wiring.pulls.asked(self, 0)
        if self._levelling is not None:
            self._levelling.cancel()
