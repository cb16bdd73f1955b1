"""One owner's hold on one Kafka subscription: the session kept, progress committed, what is asked for handed over.

What commit() notes is written at most once a second; a failed attempt at once. A broken connection ends nothing: the
positions stand here, so reading goes on behind what was delivered, at the same epoch.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from eventbus.bus import Attempt, DeadLetter, Deliver, Incoming, Lost
from eventbus.cloudevents import Malformed
from eventbus.errors import BusError, DeadLetterRefused, Fenced
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.dialect import Dialect
from eventbus.kafka.group import Committed, Expired, Group
from eventbus.kafka.letters import Letters
from eventbus.kafka.marks import Marks
from eventbus.kafka.reading import before, read_one
from eventbus.kafka.recent import WINDOW, Recent
from eventbus.kafka.records import dedupe_of
from eventbus.kafka.shares import Shares
from eventbus.kafka.stream import Stream
from eventbus.kafka.takeover import Claim, Sources
from eventbus.kafka.wire import REBALANCING, Fault, Place

FRESH = 4.0
"""Seconds of monotonic time that one answer of the coordinator is good for."""
RENEW = 1.5
"""Seconds between heartbeats."""
LOOK_BACK = 5000
"""Records of a partition below its floor in which a new owner looks for ids."""
LOOK_FOR = 2.0
"""Seconds for which it does so; a takeover must not wait for large events."""
BYTES_ALONE = frozenset({"raw"})
"""Forms of a subscription that want what stands on the broker, whatever it is."""
WRITE_EVERY = 1.0
"""Seconds between two commits that nobody waits for."""


class KafkaIntake:
    """See eventbus.bus.Intake."""

    def __init__(
        self,
        cluster: Cluster,
        group: Group,
        sources: Sources,
        claim: Claim,
        letters: Letters,
        dialect: Dialect,
        deliver: Deliver,
        lost: Lost,
    ) -> None:
        self._cluster, self._group, self._sources, self._letters = cluster, group, sources, letters
        self._dialect = dialect
        self._bytes_alone = sources.subscription.form in BYTES_ALONE
        self._deliver, self._lost = deliver, lost
        self.epoch = claim.epoch
        self._shares = Shares(claim.epoch)
        for share, place in sources.shares.items():
            self._shares.add(share, place, claim.taken[place])
        self.progress = self._shares.taken()
        self._recent = Recent()
        self._stream = Stream(cluster, self._admit, self._arrived, self._give_up)
        for share, one in self._shares.each.items():
            self._stream.add(one.place, share, one.floor)
        self.request = self._stream.request
        self._alive = True
        self._renewed = time.monotonic()
        self._writing = asyncio.Lock()
        self._due = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    async def start(self, now: float) -> None:
        """Read from unix time *now* on, and keep the session; called once."""
        with contextlib.suppress(BusError):  # then what comes twice is handled twice
            await self._remember(now)
        self._stream.start()
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"own {self._group.name}")

    async def _remember(self, now: float) -> None:
        """Learn which ids the owner before has seen."""
        end = time.monotonic() + LOOK_FOR
        for share, one in self._shares.each.items():
            async for some in before(self._cluster, one.place, one.floor, now - WINDOW, LOOK_BACK, self):
                for record, _ in some:
                    if dedupe := dedupe_of(record):
                        self._recent.seen(dedupe, (share, record.offset + 1), time.monotonic())
                if time.monotonic() > end:
                    return

    @property
    def alive(self) -> bool:
        """Neither closed nor lost."""
        return self._alive

    @property
    def fresh(self) -> bool:
        return self._alive and time.monotonic() - self._renewed < FRESH

    def outstanding(self) -> int:
        return self._stream.wanted

    def _admit(self, share: int, found: Found) -> Incoming | None:
        dedupe = dedupe_of(found.record)
        if dedupe and self._recent.seen(dedupe, (share, found.record.offset + 1), time.monotonic()):
            return None
        return self._dialect.incoming(share, found, bytes_alone=self._bytes_alone)

    def _arrived(self, events: Sequence[Incoming]) -> None:
        if self._alive:
            self._deliver(events)

    async def read(self, share: int, seq: int) -> bytes:
        found = await read_one(self._cluster, self._shares.each[share].place, seq - 1, self)
        try:
            return self._dialect.event(found.record, bytes_alone=self._bytes_alone).payload
        except Malformed:
            return found.record.value or b""

    async def commit(self, share: int, floor: int, done: Collection[int]) -> None:
        if not self._alive:
            return
        self._shares.finish(share, floor, done)
        self._due.set()

    async def record_attempt(self, share: int, seq: int, attempt: Attempt) -> None:
        if self._alive:
            self._shares.fail(share, seq, attempt)
            await self._write()
        if not self._alive:
            raise Fenced(f"another owner holds {self._group.name}")

    async def dead_letter(self, letter: DeadLetter, share: int, seq: int) -> None:
        subscription = self._sources.subscription
        letter = msgspec.structs.replace(letter, id=f"{share}-{seq}", group=subscription.group)
        try:
            await self._letters.store(letter)
        except BusError as error:
            raise DeadLetterRefused(f"dead letter of event {share}-{seq}: {error}") from error

    async def pending(self) -> int:
        return (await self._stream.level()).pending

    async def arm(self, bell: Callable[[], None]) -> int:
        self._stream.arm(bell)
        return await self.pending()

    async def disarm(self) -> None:
        self._stream.arm(None)

    async def close(self) -> None:
        """Write progress; the membership ends by itself, so that the next owner need not wait for an empty group."""
        if self._alive:
            with contextlib.suppress(BusError):  # the next owner starts from what was written last
                await self._write()
            self._alive = False
        await self._end()

    def release(self) -> None:
        """Stop without a word to the broker: its connection ends."""
        self._alive = False
        self._stream.release()
        if self._keeper is not None:
            self._keeper.cancel()

    async def _end(self) -> None:
        keeper, self._keeper = self._keeper, None
        if keeper is not None and keeper is not asyncio.current_task():
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)
        await self._stream.stop()
        self._cluster.leave_lane(self)

    def _give_up(self, reason: str) -> None:
        if self._alive:
            self._alive = False
            self._lost(reason)
            self._ending = asyncio.get_running_loop().create_task(self._end())

    async def _keep(self) -> None:
        """Renew the session and write what was noted, until lost."""
        renew = write = 0.0
        while self._alive:
            try:
                if time.monotonic() >= renew:
                    renew = time.monotonic() + RENEW
                    await self._renew()
                    self._due.set()  # what is no event may have been passed since
                if self._due.is_set() and self._alive and time.monotonic() >= write:
                    write = time.monotonic() + WRITE_EVERY
                    self._due.clear()
                    await self._write()
            except BusError:
                self._due.set()  # `fresh` turns False by itself, and the next turn tries again
            await self._pause(renew, write)

    async def _pause(self, renew: float, write: float) -> None:
        """Until something is due."""
        if self._due.is_set():
            await asyncio.sleep(max(0.0, min(renew, write) - time.monotonic()))
            return
        try:
            async with asyncio.timeout(max(0.0, renew - time.monotonic())):
                await self._due.wait()
        except TimeoutError:
            pass

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            await self._group.heartbeat()
        except Fenced:
            self._give_up("another owner took over")
            return
        except (Expired, Fault) as error:
            if isinstance(error, Fault) and error.number not in REBALANCING:
                raise
            async with self._writing:
                if not await self._return():
                    return
        self._renewed = began
        self._widen()

    async def _return(self) -> bool:
        """Join again after a session that ended while nobody else took over; False when the ownership is lost."""
        if not await self._mine():
            return False
        await self._group.join(self._sources.by_topic())
        return await self._mine()

    async def _mine(self) -> bool:
        """Whether what is committed last is of our epoch; gives up otherwise."""
        committed = await self._group.committed()
        last = max((one.marks.epoch for one in committed.values()), default=0)
        if last != self.epoch:
            self._give_up("another owner took over" if last else "the subscription was deleted")
        return last == self.epoch

    def _widen(self) -> None:
        """Take partitions in that appeared since."""
        for share, place in self._sources.look(self._cluster).items():
            if share not in self._shares.each:
                self._shares.add(share, place, Committed(0, Marks(self.epoch)))
                self._stream.add(place, share, 0)

    async def _write(self) -> None:
        """Commit what changed so far, once for all who wait for it. Raises BusError."""
        async with self._writing:
            change = self._shares.changes
            marks = self._shares.unwritten(self._passed())
            if not marks:
                return
            began = time.monotonic()
            try:
                await self._commit(marks)
            except Fenced:
                self._give_up("another owner took over")
                return
            self._shares.wrote(marks, change)
            self._renewed = max(self._renewed, began)

    def _passed(self) -> dict[int, int]:
        parts = self._stream.parts
        return {
            share: one.passed(parts[one.place].delivered, parts[one.place].position)
            for share, one in self._shares.each.items()
        }

    async def _commit(self, marks: Mapping[Place, Committed]) -> None:
        try:
            await self._group.commit(marks)
        except Expired:
            if await self._return():
                await self._group.commit(marks)
