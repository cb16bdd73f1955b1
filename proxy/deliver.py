"""The outflow of one owner: batches from the window to who takes them, one task per batch, none per event."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from api.frames import Endpoint
from api.meta import RevisionKey
from eventbus.bus import EventBus
from proxy.batching import HandlerTime
from proxy.hold import Hold
from proxy.lanes import Entry
from proxy.marks import expiry
from proxy.outcomes import BROKEN, DOUBTFUL, ENDED, NOT_STARTED, REFUSED, Outcome
from proxy.receivers import receiver
from proxy.settle import Settler
from proxy.suspects import Suspects
from proxy.takeover import Takeover
from proxy.window import Window
from proxy.wiring import Wiring
from replicas.table import Lease

log = logging.getLogger(__name__)

BUSY = 0.1
"""Seconds for which a replica without room is left alone where there are others."""
GRAIN = 0.001
"""Seconds by which the loop's timers may be early."""
BREATH = 0.02
"""Seconds for which the only replica, having no room, is left alone."""


class Outflow:
    def __init__(
        self,
        hold: Hold,
        bus: EventBus,
        wiring: Wiring,
        settler: Settler,
        *,
        fenced: Callable[[str], None],
        again: Callable[[], None],
    ) -> None:
        self._hold, self._bus, self._wiring, self._settler = hold, bus, wiring, settler
        self._fenced = fenced
        self._again = again
        """Looks for something to start."""
        self._rest_until = 0.0
        self._receiver = receiver(hold.subscription, hold.intake.epoch, wiring, bus)
        self._suspects = Suspects(wiring)
        self._takeover = Takeover(hold, wiring, self._suspects, again)
        self._linger: asyncio.TimerHandle | None = None
        self.times: dict[RevisionKey, HandlerTime] = {}
        self.posts: set[asyncio.Task[None]] = set()

    def change(self) -> None:
        """The subscription was edited."""
        self._receiver = receiver(self._hold.subscription, self._hold.intake.epoch, self._wiring, self._bus)

    def turn(self, events: int, size: int) -> tuple[int, int]:
        """Start up to about *events* and *size* bytes; answers what was started."""
        hold = self._hold
        if hold.over or not hold.intake.fresh or self._wiring.clock() < self._rest_until:
            return 0, 0
        started = started_bytes = 0
        for window in hold.windows.values():
            for route in window.routes():
                if not isinstance(route, RevisionKey):
                    continue
                while started < events and started_bytes < size:
                    batch = self._start(window, route)
                    if not batch:
                        break
                    started += len(batch)
                    started_bytes += sum(entry.size for entry in batch)
        return started, started_bytes

    def _start(self, window: Window, route: RevisionKey) -> list[Entry]:
        """Start one batch; empty when nothing may, or no replica has room."""
        hold, table = self._hold, self._wiring.table
        if not window.runnable_of(route):
            return []
        if not self._takeover.over:
            self._takeover.ask([one for revision in hold.revisions for one in table.ready(revision)])
            return []
        if not hold.breaker.allows(self._wiring.clock(), in_flight=hold.in_flight):
            return []
        if (
            head := window.next(route)
        ) is not None and head.solo:  # other events wait for that too: it is rare, and soon over
            lease = table.seize(route)
            batch = window.take(route, 1) if lease is not None else []
        else:
            lease, batch = self._batch(window, route)
        if lease is None or not batch:
            return []
        task = asyncio.get_running_loop().create_task(self._post(window, route, lease, batch))
        self.posts.add(task)
        task.add_done_callback(self._posted)
        return batch

    def _batch(self, window: Window, route: RevisionKey) -> tuple[Lease | None, list[Entry]]:
        """As many events as the freest replica should get at once, and the credit for them."""
        table = self._wiring.table
        if self._gathers(route):
            lease = None if self._lingers(window, route) else table.pick(route)
            return lease, window.take(route, self._hold.subscription.bulk) if lease is not None else []
        lease = table.pick(route, self._count(window, route))
        if lease is None:
            return None, []
        batch = window.take(route, lease.count, ordered=lease.endpoint.ordered)
        if len(batch) < lease.count:  # a large body: give the rest of the credit back
            lease.release()
            lease = table.pick(route, len(batch))
            kept = lease.count if lease is not None else 0
            for entry in reversed(batch[kept:]):
                window.release(entry)
            batch = batch[:kept]
        return lease, batch

    def _gathers(self, route: RevisionKey) -> bool:
        """Whether an app takes Dapr's bulk message: one call, and so one place there, for a whole batch."""
        if not self._hold.subscription.bulk_subscribe or self._hold.breaker.open:
            return False
        endpoint = next(iter(self._wiring.table.ready(route)), None)
        return endpoint is not None and endpoint.protocol != "evoke"

    def _lingers(self, window: Window, route: RevisionKey) -> bool:
        """Whether a batch that is not full waits for more, from when its first event came."""
        subscription = self._hold.subscription
        head = window.next(route)
        if head is None or window.runnable_of(route) >= subscription.bulk:
            return False
        left = head.arrived + subscription.bulk_wait.total_seconds() - self._wiring.clock()
        if left <= 0:
            return False
        if self._linger is None:
            self._linger = asyncio.get_running_loop().call_later(left + GRAIN, self._lingered)
        return True

    def _lingered(self) -> None:
        self._linger = None
        self._again()

    def _count(self, window: Window, route: RevisionKey) -> int:
        hold, table = self._hold, self._wiring.table
        if hold.breaker.open:
            return 1
        endpoint = next(iter(table.ready(route)), None)
        if endpoint is None:
            return 1
        largest = min(endpoint.batch, hold.subscription.bulk)
        count = self._time(route).batch(table.free(route), largest)
        startable = len(window) - window.in_flight if endpoint.ordered else window.runnable_of(route)
        return max(1, min(count, startable))

    def _time(self, route: RevisionKey) -> HandlerTime:
        found = self.times.get(route)
        if found is None:
            found = self.times[route] = HandlerTime()
        return found

    async def _post(self, window: Window, route: RevisionKey, lease: Lease, batch: Sequence[Entry]) -> None:
        wiring = self._wiring
        began = wiring.clock()
        endpoint = lease.endpoint
        in_flight = wiring.table.in_flight(endpoint.replica)
        try:
            outcomes = await self._fresh(endpoint, batch)
        except Exception as error:  # a defect of ours: it must not leave the batch in flight for ever
            log.exception("delivery of %s", self._hold.subscription.key)
            outcomes = [Outcome("failed", repr(error))] * len(batch)
        except asyncio.CancelledError:
            lease.release()
            raise
        elapsed = wiring.clock() - began
        kinds = {outcome.kind for outcome in outcomes}
        if kinds != {"not-started"}:
            self._time(route).add(elapsed, len(batch), in_flight)
        else:
            self._avoid(route, endpoint, outcomes[0])
        if kinds & DOUBTFUL:
            self._doubt(window, route, lease, list(zip(batch, outcomes, strict=True)), began)
            return
        try:
            self._settler.settle(window, batch, outcomes, route, alone=self._alone(lease, outcomes))
        finally:
            lease.release()  # last: its callbacks look for the next batch
        if "fenced" in kinds:
            self._fenced("a replica has seen a newer epoch")

    async def _fresh(self, endpoint: Endpoint, batch: Sequence[Entry]) -> list[Outcome]:
        """Post what has not expired while it was held."""
        wall = self._wiring.wall()
        expired = {entry.seq: flaw for entry in batch if (flaw := expiry(entry.payload or b"", wall))}
        if not expired:
            return await self._receiver.post(endpoint, batch, wall)
        fresh = [entry for entry in batch if entry.seq not in expired]
        told = iter(await self._receiver.post(endpoint, fresh, wall) if fresh else ())
        return [Outcome("expired", expired[one.seq]) if one.seq in expired else next(told) for one in batch]

    def _posted(self, task: asyncio.Task[None]) -> None:
        self.posts.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("settling events of %s", self._hold.subscription.key, exc_info=error)
            self._fenced("its window is in doubt")  # the bus still has what was not done

    def _avoid(self, route: RevisionKey, endpoint: Endpoint, outcome: Outcome) -> None:
        """The replica took nothing: go elsewhere, or give it a moment."""
        table = self._wiring.table
        if outcome is REFUSED:
            table.strike(endpoint.replica)
            return
        self._suspects.question(endpoint)
        if len(table.ready(route)) > 1:
            table.strike(endpoint.replica, BUSY)
        else:
            self._rest_until = self._wiring.clock() + BREATH
            asyncio.get_running_loop().call_later(BREATH, self._rested)

    def _rested(self) -> None:
        self._rest_until = 0.0  # the loop's clock is coarser than ours: its timers may be early
        self._again()

    def _doubt(
        self,
        window: Window,
        route: RevisionKey,
        lease: Lease,
        results: Sequence[tuple[Entry, Outcome]],
        began: float,
    ) -> None:
        """Keep keys and credit of what may still run until it cannot; settle the rest."""
        sure = [result for result in results if result[1].kind not in DOUBTFUL]
        doubtful = [result for result in results if result[1].kind in DOUBTFUL]
        alone = self._alone(lease, [outcome for _, outcome in results])
        if sure:
            outcomes = [outcome for _, outcome in sure]
            self._settler.settle(window, [entry for entry, _ in sure], outcomes, route, alone=alone)
        for entry, _ in doubtful:
            window.lose(entry)

        def confirmed() -> None:
            innocent = lease.endpoint.replica in self._wiring.condemned
            entries = [entry for entry, _ in doubtful]
            outcomes = [NOT_STARTED if innocent and one is ENDED else one for _, one in doubtful]
            self._settler.settle(window, entries, outcomes, route, alone=alone)
            lease.release()

        deadline = began + self._hold.subscription.delivery.timeout.total_seconds()
        self._suspects.watch(lease.endpoint, deadline, confirmed)

    def _alone(self, lease: Lease, outcomes: Sequence[Outcome]) -> bool:
        """Whether the only event of a POST is to blame for its outcome: for the end of a replica it is where nothing
        else ran there. An address that breaks off an answer does that to one POST."""
        own = self._hold.subscription.sink is not None or lease.whole
        return len(outcomes) == 1 and (own or outcomes[0] not in {ENDED, BROKEN})

    async def finish(self, seconds: float) -> None:
        """Wait for POSTs in flight and replicas in doubt, at most *seconds*."""
        pending = self.posts | self._suspects.watches
        if pending:
            await asyncio.wait(pending, timeout=seconds)
        for task in self.posts:
            task.cancel()
        if self._linger is not None:
            self._linger.cancel()
        self._suspects.stop()
        self._takeover.stop()
