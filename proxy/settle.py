"""From outcomes to the window and the bus: success, a recorded retry, a dead letter, or one more chance."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any

import msgspec

from api.frames import Notice
from api.meta import RevisionKey
from eventbus.bus import Attempt, DeadLetter, EventBus
from eventbus.errors import BusError, DeadLetterRefused, Fenced, TooLarge
from proxy import letters
from proxy.commits import Commits
from proxy.hold import Hold
from proxy.lanes import Entry
from proxy.loose import FAR, LooseWindow
from proxy.moved import mark, unmark
from proxy.outcomes import Bury, Done, Outcome, Park, Release, describe, judge
from proxy.sink_topic import dedupe_of
from proxy.window import Window
from proxy.wiring import Wiring

log = logging.getLogger(__name__)

PAUSES = (0.2, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Seconds between tries at a bus that does not take an attempt record or a dead letter; the last one repeats."""
INNOCENT = frozenset({"rejected", "malformed", "unmatched", "expired"})
"""Outcomes that say nothing against the function: it said no to this event, or was not asked."""
NOTICES = 20
"""Notices per second of one subscription; a person cannot read more."""


class Settler:
    def __init__(self, hold: Hold, bus: EventBus, wiring: Wiring, commits: Commits, stir: Callable[[], None]) -> None:
        self._hold, self._bus, self._wiring, self._commits = hold, bus, wiring, commits
        self._stir = stir
        """Wakes the owner's loop: a commit is due, or something may start."""
        self.chores: set[asyncio.Task[None]] = set()
        self._noticed = (0, 0)

    def passed(self, window: Window) -> None:
        """An event was done on arrival."""
        if self._commits.moved(window, 1, self._wiring.clock()):
            self._stir()

    def settle(
        self, window: Window, batch: Sequence[Entry], outcomes: Sequence[Outcome], revision: RevisionKey, *, alone: bool
    ) -> None:
        """Apply the *outcomes* of one POST, or of the confirmation that followed its silence; *alone*: nothing else can
        be to blame for them."""
        hold = self._hold
        if hold.over:
            return
        now = self._wiring.clock()
        done = 0
        for entry, outcome in zip(batch, outcomes, strict=True):
            if outcome.kind == "done":
                if entry.attempts:
                    self._notice("delivered", f"delivered (attempt {entry.attempts + 1})", revision, entry)
                window.finish(entry)
                hold.meter.waits.add(now - entry.arrived, now)
                done += 1
            else:
                self._fail(window, entry, outcome, revision, alone=alone)
        if done:
            hold.meter.done += done
            hold.breaker.success()
            if self._commits.moved(window, done, now):
                self._stir()

    def bury(self, window: Window, entry: Entry, reason: str, error: str) -> None:
        """To the dead letters without another attempt."""
        window.condemn(entry)
        revisions = self._hold.revisions
        self._chore(self._bury(window, entry, Bury(reason, error, entry.attempts), revisions[0] if revisions else None))

    def restore(self, window: Window, entry: Entry) -> None:
        """Read a parked event's payload again; it then waits."""
        self._chore(self._restore(window, entry))

    def move(self, window: Window, entry: Entry, until: float) -> None:
        """To the end of its subject, where it is tried again at monotonic *until*: it holds the floor back here."""
        window.condemn(entry)
        self._chore(self._move(window, entry, self._wiring.wall() + until - self._wiring.clock()))

    async def finish(self) -> None:
        """Wait for what is being written."""
        while self.chores:
            await asyncio.wait(self.chores)

    def _fail(self, window: Window, entry: Entry, outcome: Outcome, revision: RevisionKey, *, alone: bool) -> None:
        policy = self._hold.subscription.delivery
        verdict = judge(policy, outcome, attempts=entry.attempts, alone=alone, spread=self._wiring.spread())
        match verdict:
            case Release(solo):
                window.release(entry, solo=solo)
                return
            case Park():
                self._count(outcome)
                self._chore(self._park(window, entry, verdict, revision))
            case Bury():
                self._count(outcome)
                window.condemn(entry)
                self._chore(self._bury(window, entry, verdict, revision))
            case Done():
                raise AssertionError("a success is settled before")

    def _count(self, outcome: Outcome) -> None:
        hold = self._hold
        hold.meter.failed += 1
        hold.meter.last_error = outcome.error
        if outcome.kind not in INNOCENT:
            hold.breaker.failure(self._wiring.clock(), parked=hold.parked - hold.asleep, capacity=hold.capacity)

    async def _park(self, window: Window, entry: Entry, verdict: Park, revision: RevisionKey) -> None:
        """Write the attempt down, then let its backoff start."""
        failed_at = self._wiring.clock()
        policy = self._hold.subscription.delivery
        self._notice("attempt-failed", describe(policy, verdict), revision, entry)
        not_before = self._wiring.wall() + verdict.delay.total_seconds()
        attempt = Attempt(count=verdict.attempts, not_before=not_before, error=verdict.error)
        if not await self._stored(lambda: self._hold.intake.record_attempt(window.share, entry.seq, attempt)):
            return
        until = failed_at + verdict.delay.total_seconds()
        window.park(entry, until, attempts=verdict.attempts, error=verdict.error)
        if isinstance(window, LooseWindow) and until - self._wiring.clock() > FAR:
            window.leave(entry, until)
        self._stir()

    async def _move(self, window: Window, entry: Entry, not_before: float) -> None:
        """Through the store of dead letters, which every bus replays from to this subscription alone."""
        hold, subscription = self._hold, self._hold.subscription
        payload = await self._payload(window, entry)
        if payload is None:
            return
        verdict = Bury("postponed", entry.error, entry.attempts)
        moved = mark(payload, entry.attempts, not_before)
        letter = letters.letter(subscription, window.share, entry, verdict, moved, self._wiring.wall())

        async def store() -> None:
            await hold.intake.dead_letter(letter, window.share, entry.seq)
            await self._bus.replay(msgspec.structs.replace(letter, group=subscription.group))

        if await self._stored(store):
            window.finish(entry)
            self._commits.moved(window, 1, self._wiring.clock())
            self._stir()

    async def _bury(self, window: Window, entry: Entry, verdict: Bury, revision: RevisionKey | None) -> None:
        hold, subscription = self._hold, self._hold.subscription
        payload = await self._payload(window, entry)
        if payload is None:
            return
        letter = letters.letter(subscription, window.share, entry, verdict, payload, self._wiring.wall())

        async def store() -> None:
            if subject := subscription.delivery.dead_letter:
                await self._copy(subject, letter, verdict.code)
            await hold.intake.dead_letter(letter, window.share, entry.seq)

        if not await self._stored(store):
            return
        window.finish(entry)
        hold.meter.dead += 1
        if revision is not None:
            self._notice("dead-letter", describe(subscription.delivery, verdict), revision, entry)
        self._commits.moved(window, 1, self._wiring.clock())
        self._stir()

    async def _copy(self, subject: str, letter: DeadLetter, code: int) -> None:
        """Publish the copy of a letter; raises DeadLetterRefused."""
        subscription = self._hold.subscription
        dedupe = dedupe_of(subscription.key, letter.subject, letter.id)
        if self._wiring.directory.is_component(subscription.bus):  # others read there, and know nothing of our mapping
            letter = letters.carried(letter)
        told = letters.beside(letter)
        publish = partial(self._bus.publish, subject, key=letter.key, dedupe=dedupe, output=True, metadata=told)
        try:
            try:
                await publish(letters.copy(letter, subscription, code))
            except TooLarge:
                await publish(letters.copy(letter, subscription, code, bare=True))
        except BusError as error:
            raise DeadLetterRefused(f"topic {subject} of dead letters: {error}") from error

    async def _stored(self, write: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Write until the bus took it; False when the ownership ended before."""
        for tried in range(1 << 30):
            if self._hold.over:
                break
            try:
                await write()
            except Fenced:
                break
            except BusError as error:
                self._hold.condition = error.reason
                self._hold.meter.last_error = str(error)
                await asyncio.sleep(PAUSES[min(tried, len(PAUSES) - 1)])
            else:
                self._hold.condition = ""
                return True
        return False

    async def _restore(self, window: Window, entry: Entry) -> None:
        payload = await self._read(window, entry)
        if self._hold.over:
            return
        if payload is None:
            window.postpone(entry, self._wiring.clock() + PAUSES[1])
        else:
            window.restore(entry, payload)
        self._stir()

    async def _payload(self, window: Window, entry: Entry) -> bytes | None:
        """Payload of an entry, read again until that works; None when the ownership ended before."""
        payload = entry.payload
        while payload is None and not self._hold.over:
            payload = await self._read(window, entry)
        return payload

    async def _read(self, window: Window, entry: Entry) -> bytes | None:
        try:
            payload = await self._hold.intake.read(window.share, entry.seq)
            moved = unmark(payload)
            return payload if moved is None else moved.payload
        except BusError as error:
            self._hold.meter.last_error = str(error)
            await asyncio.sleep(PAUSES[0])
            return None

    def _chore(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.chores.add(task)
        task.add_done_callback(self._chore_ended)

    def _chore_ended(self, task: asyncio.Task[None]) -> None:
        self.chores.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("subscription %s starts over", self._hold.subscription.key, exc_info=error)
            self._hold.over = True  # the event's state is unclear; the bus still has it
            self._stir()

    def _notice(self, kind: Any, message: str, revision: RevisionKey, entry: Entry) -> None:
        second = int(self._wiring.clock())
        count = self._noticed[1] + 1 if self._noticed[0] == second else 1
        self._noticed = (second, count)
        if count <= NOTICES:
            event_id = letters.event_of(entry.payload).id if entry.payload else ""
            frame = Notice(
                namespace=revision.namespace,
                function=revision.function,
                trigger=self._hold.subscription.trigger,
                kind=kind,
                message=message,
                event_id=event_id,
            )
            self._wiring.send(frame)
