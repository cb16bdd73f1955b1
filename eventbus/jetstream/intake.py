"""One owner's hold on one JetStream subscription: floor and done map kept, lease renewed, consumer replaced.

After a broken connection, or when the broker lost a pull, the consumer is made again behind the committed floor and
what was received before is skipped: a delivery that was lost on the wire would otherwise wait for the broker's 24 h
timer.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Collection, Coroutine, Sequence

import msgspec

from eventbus.bus import Attempt, DeadLetter, Deliver, Incoming, Lost, Progress
from eventbus.errors import BusError, DeadLetterRefused, Fenced, LagUnknown
from eventbus.jetstream.api import WRONG_LAST, ApiError
from eventbus.jetstream.connection import Connection, Listening
from eventbus.jetstream.deliveries import target
from eventbus.jetstream.letters import Letters
from eventbus.jetstream.ownership import Claim, Membership
from eventbus.jetstream.pulls import Pulls
from eventbus.progress import Mark
from eventbus.ticks import pause

FRESH = 4.0
"""Seconds of monotonic time that one renewal is good for."""
RENEW = 2.0
TICK = 1.0
SPREAD = 0.1
"""Part of a tick by which it differs: hundreds of intakes that were opened together would all write at once."""
"""Seconds between two writes of the done map, at the least."""
CLEANED = 200
"""Records of attempts that are deleted in one tick."""


class JetStreamIntake:
    """See eventbus.bus.Intake."""

    def __init__(
        self,
        connection: Connection,
        membership: Membership,
        claim: Claim,
        letters: Letters,
        deliver: Deliver,
        lost: Lost,
    ) -> None:
        self._connection, self._membership, self._letters = connection, membership, letters
        self._deliver, self._lost = deliver, lost
        self._js = membership.records.js
        self._stream = membership.topic.stream
        self.epoch = claim.epoch
        self._consumer = membership.consumer(claim.epoch)
        mark = claim.mark
        self.progress = Progress(
            floors={0: mark.floor},
            done={0: mark.done},
            attempts={(0, seq): attempt for seq, attempt in claim.attempts.items()},
        )
        self._floor, self._done = mark.floor, set(mark.done)
        self._dirty = False
        self._window = claim.window
        self._recorded = set(claim.attempts)
        self._pulls = Pulls(connection, target(self._stream, self._consumer), mark.floor, self._arrived, self._recover)
        self.request, self.outstanding = self._pulls.request, self._pulls.outstanding
        self._bell: Callable[[], None] | None = None
        self._bells: list[Listening] = []
        self._alive = True
        self._renewed = time.monotonic()
        self._recovery: asyncio.Task[None] | None = None
        self._recover_again = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for deliveries and keep the lease; called once, before the owner sees the intake."""
        await self._pulls.start()
        self._connection.on_up.append(self._reconnected)
        self._connection.on_closed.append(self._give_up)
        self._run(self._keep())

    def _run(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    @property
    def alive(self) -> bool:
        """Neither closed nor lost."""
        return self._alive

    @property
    def fresh(self) -> bool:
        return self._alive and time.monotonic() - self._renewed < FRESH

    def _arrived(self, events: Sequence[Incoming]) -> None:
        if self._alive:
            self._deliver(events)

    async def read(self, share: int, seq: int) -> bytes:  # noqa: ARG002  # JetStream has one share
        return await self._js.payload(self._stream, seq)

    async def commit(self, share: int, floor: int, done: Collection[int]) -> None:  # noqa: ARG002  # JetStream has one share
        if not self._alive:
            return
        self._floor = max(self._floor, floor)
        if done:
            self._done.update(done)
            self._dirty = True
        self._pulls.passed(floor)
        await self._pulls.acknowledge()

    async def record_attempt(self, share: int, seq: int, attempt: Attempt) -> None:  # noqa: ARG002  # JetStream has one share
        if not self._alive:
            raise Fenced(f"another owner holds {self._membership.subscription.key}")
        self._recorded.add(seq)
        await self._membership.records.attempts.put(f"{self._membership.key}.{seq}", msgspec.json.encode(attempt))

    async def dead_letter(self, letter: DeadLetter, share: int, seq: int) -> None:
        group = self._membership.subscription.group
        try:
            await self._letters.store(msgspec.structs.replace(letter, id=f"{share}-{seq}", group=group), self._stream)
        except BusError as error:
            raise DeadLetterRefused(f"dead letter of event {seq}: {error}") from error

    async def pending(self) -> int:
        info = await self._js.consumer_info(self._stream, self._consumer)
        if info is None:
            raise LagUnknown(f"the consumer of {self._membership.subscription.key} is gone")
        return max(0, info.num_pending - self._pulls.again)

    async def arm(self, bell: Callable[[], None]) -> int:
        await self.disarm()
        self._bell = bell
        for subject in self._membership.filters:
            self._bells.append(await self._connection.listen(subject, lambda _: bell()))
        # The SUBs stand once this is answered (a flush would not tell). Its count may be too low: what was published
        # just before waits in the stream's queue, and new messages are counted a moment after they are stored.
        pending = await self.pending()
        if pending:
            return pending
        await self._js.barrier(self._membership.topic.barrier)
        for subject in self._membership.filters:
            if await self._js.any_from(self._stream, self._pulls.position + 1, subject):
                return max(1, await self.pending())
        return 0

    async def disarm(self) -> None:
        bells, self._bells, self._bell = self._bells, [], None
        for bell in bells:
            await bell.stop()

    async def close(self) -> None:
        if self._alive:
            self._alive = False
            try:
                await self._save()
                await self._membership.records.live.delete(self._membership.key)
                await self.disarm()
            except BusError:
                pass  # the next owner starts from what was written last
            await self._end()

    def release(self) -> None:
        """Stop without a word to the broker: its connection ends."""
        self._alive = False
        for task in self._tasks:
            task.cancel()

    async def _end(self) -> None:
        self._connection.on_up.remove(self._reconnected)
        self._connection.on_closed.remove(self._give_up)
        await self._pulls.stop()
        current = asyncio.current_task()
        for task in self._tasks:
            if task is not current:
                task.cancel()

    def _give_up(self, reason: str) -> None:
        if self._alive:
            self._alive = False
            self._lost(reason)
            self._run(self._end())

    async def _keep(self) -> None:
        """Renew the lease every 2 s and write the done map at most every second, until lost."""
        due = 0.0
        while self._alive:
            try:
                if time.monotonic() >= due:
                    due = time.monotonic() + RENEW
                    await self._renew()
                await self._save()
                await self._pulls.acknowledge()
                await self._clean()
            except BusError:
                pass  # `fresh` turns False by itself, and the next tick tries again
            if self._pulls.silent():
                self._recover()
            share = random.uniform(-SPREAD, SPREAD)  # noqa: S311 - nothing secret
            await asyncio.sleep(pause(time.monotonic(), TICK, share))

    async def _renew(self) -> None:
        await self._check()
        if not self.alive:
            return
        await self._membership.records.live.put(self._membership.key, str(self.epoch).encode())

    async def _clean(self) -> None:
        """Delete records of attempts that are settled; a few at a time, so that the lease never waits for them."""
        for seq in [seq for seq in self._recorded if seq <= self._floor][:CLEANED]:
            await self._membership.records.attempts.delete(f"{self._membership.key}.{seq}")
            self._recorded.discard(seq)

    async def _check(self) -> None:
        """Lost when the owner key is no longer of this epoch, else good for another while."""
        began = time.monotonic()
        _, current = await self._membership.owner()
        if current == self.epoch:
            self._renewed = began
        else:
            self._give_up("another owner took over" if current else "the subscription was deleted")

    async def _save(self) -> None:
        if self._dirty:
            await self._save_window()

    async def _save_window(self) -> None:
        """Write floor and done map over the version we wrote last: whoever took over or forgot us has changed it."""
        self._dirty = False
        self._done = {seq for seq in self._done if seq > self._floor}
        try:
            self._window = await self._membership.save_window(Mark(self._floor, frozenset(self._done)), self._window)
        except BusError as error:
            self._dirty = True
            if isinstance(error, ApiError) and error.number == WRONG_LAST:
                await self._check()
                self._window = await self._membership.window_revision()  # ours, with an answer that was lost
            raise

    async def _reconnected(self) -> None:
        self._recover()

    def _recover(self) -> None:
        if not self._alive:
            return
        if self._recovery is not None:
            self._recover_again = True
            return
        self._recovery = self._run(self._recreate())

    async def _recreate(self) -> None:
        """Make the consumer again at the committed floor, on a new inbox: acks of the old one must not reach it."""
        wait = 0.05
        while self.alive:
            self._recover_again = False
            try:
                await self._check()
                if self.alive:
                    await self._replace_consumer()
            except BusError:
                await asyncio.sleep(wait)  # the broker is not there yet; asking faster does not bring it back
                wait = min(wait * 2, 1.0)
            else:
                if not self._recover_again:
                    break
        self._recovery = None
        if self._bell is not None:
            self._bell()  # nobody rang for what was published while the connection was broken

    async def _replace_consumer(self) -> None:
        await self._pulls.stop()
        floor = self._floor  # what is committed from here on comes once more, and is acknowledged then
        await self._save_window()
        await self._js.delete_consumer(self._stream, self._consumer)
        await self._membership.create_consumer(self.epoch, floor)
        await self._pulls.start()
