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

from eventbus.bus import Attempt, DeadLetter, Deliver, Incoming, Lost, Progress
from eventbus.cloudevents import Malformed
from eventbus.errors import BusError, DeadLetterRefused, Fenced
from eventbus.kafka import Cluster
from eventbus.kafka_batches import Found
from eventbus.kafka_group import Committed, Expired, Group
from eventbus.kafka_letters import Letters
from eventbus.kafka_marks import Marks
from eventbus.kafka_reading import read_one
from eventbus.kafka_recent import Recent
from eventbus.kafka_records import dedupe_of, to_event
from eventbus.kafka_stream import Stream
from eventbus.kafka_takeover import Claim, Sources
from eventbus.kafka_wire import REBALANCING, Fault, Place

FRESH = 4.0
"""Seconds of monotonic time that one answer of the coordinator is good for."""
RENEW = 1.5
"""Seconds between heartbeats."""
WRITE_EVERY = 1.0
"""Seconds between two commits that nobody waits for."""


class _Share:
    """Progress of one partition since the takeover."""

    def __init__(self, place: Place, taken: Committed) -> None:
        self.place = place
        self.floor = taken.floor
        self.done = set(taken.marks.done)
        self.attempts = dict(taken.marks.attempts)


class KafkaIntake:
    """See eventbus.bus.Intake."""

    def __init__(
        self,
        cluster: Cluster,
        group: Group,
        sources: Sources,
        claim: Claim,
        letters: Letters,
        owner: str,
        deliver: Deliver,
        lost: Lost,
    ) -> None:
        self._cluster, self._group, self._sources, self._letters = cluster, group, sources, letters
        self._owner = owner
        """Name in the mapping of foreign records."""
        self._deliver, self._lost = deliver, lost
        self.epoch = claim.epoch
        self._shares = {share: _Share(place, claim.taken[place]) for share, place in sources.shares.items()}
        self.progress = Progress(
            floors={share: one.floor for share, one in self._shares.items()},
            done={share: frozenset(one.done) for share, one in self._shares.items()},
            attempts={(share, seq): a for share, one in self._shares.items() for seq, a in one.attempts.items()},
        )
        self._recent = Recent()
        self._stream = Stream(cluster, self._admit, self._arrived, self._give_up)
        for share, one in self._shares.items():
            self._stream.add(one.place, share, one.floor)
        self.request = self._stream.request
        self._alive = True
        self._renewed = time.monotonic()
        self._written: dict[int, tuple[int, int]] = {}
        """Share -> what its last commit said: floor and changes."""
        self._changes = 0
        self._changed: dict[int, int] = {}
        self._writing = asyncio.Lock()
        self._due = asyncio.Event()
        self._keeper: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Read, and keep the session; called once."""
        self._stream.start()
        self._keeper = asyncio.get_running_loop().create_task(self._keep(), name=f"own {self._group.name}")

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
        record, flaw = found
        dedupe = dedupe_of(record)
        if dedupe and self._recent.seen(dedupe, (share, record.offset + 1), time.monotonic()):
            return None
        try:
            event = to_event(record, self._owner) if not flaw else None
        except Malformed as error:
            event, flaw = None, error.message
        if event is None:
            return Incoming(share, record.offset + 1, "", record.value or b"", record.timestamp, flaw)
        return Incoming(share, record.offset + 1, event.key, event.payload, record.timestamp)

    def _arrived(self, events: Sequence[Incoming]) -> None:
        if self._alive:
            self._deliver(events)

    async def read(self, share: int, seq: int) -> bytes:
        found = await read_one(self._cluster, self._shares[share].place, seq - 1, self)
        try:
            return to_event(found.record, self._owner).payload
        except Malformed:
            return found.record.value or b""

    async def commit(self, share: int, floor: int, done: Collection[int]) -> None:
        if not self._alive:
            return
        one = self._shares[share]
        one.floor = max(one.floor, floor)
        one.done = {seq for seq in one.done.union(done) if seq > one.floor}
        for seq in [seq for seq in one.attempts if seq <= one.floor or seq in one.done]:
            del one.attempts[seq]
        self._touch(share)
        self._due.set()

    def _touch(self, share: int) -> None:
        self._changes += 1
        self._changed[share] = self._changes

    async def record_attempt(self, share: int, seq: int, attempt: Attempt) -> None:
        if self._alive:
            self._shares[share].attempts[seq] = attempt
            self._touch(share)
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
            now = time.monotonic()
            try:
                if now >= renew:
                    renew = now + RENEW
                    await self._renew()
                if now >= write and self._alive:
                    write = now + WRITE_EVERY
                    self._due.clear()
                    await self._write()
            except BusError:
                pass  # `fresh` turns False by itself, and the next turn tries again
            now = time.monotonic()
            try:
                async with asyncio.timeout(max(0.01, min(renew, write) - now)):
                    await self._due.wait()
                    await asyncio.sleep(max(0.0, min(renew, write) - time.monotonic()))
            except TimeoutError:
                pass

    async def _renew(self) -> None:
        began = time.monotonic()
        try:
            await self._group.heartbeat()
        except Fenced:
            self._give_up("another owner took over")
            return
        except Expired:
            await self._return()
        except Fault as error:
            if error.number not in REBALANCING:
                raise
            await self._return()
        self._renewed = began
        self._widen()

    async def _return(self) -> None:
        """Join again after a session that ended while nobody else took over; raises BusError, or gives up."""
        if await self._mine():
            await self._group.join(self._sources.by_topic())
            if await self._mine():
                for share in self._shares:
                    self._touch(share)
                await self._write()

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
            if share not in self._shares:
                taken = Committed(0, Marks(self.epoch))
                self._shares[share] = _Share(place, taken)
                self._stream.add(place, share, 0)
                self._touch(share)

    async def _write(self) -> None:
        """Commit every share that changed; what changes meanwhile is left to the next time. Raises BusError."""
        target = self._changes
        async with self._writing:
            due = self._unwritten()
            if not due or (target and all(self._written.get(share, (0, 0))[1] >= target for share in due)):
                return
            began = time.monotonic()
            marks = {self._shares[share].place: self._mark(share) for share in due}
            stamps = {share: (marks[self._shares[share].place].floor, self._changed.get(share, 0)) for share in due}
            try:
                await self._group.commit(marks)
            except Fenced:
                self._give_up("another owner took over")
                return
            self._written |= stamps
            self._renewed = max(self._renewed, began)

    def _unwritten(self) -> list[int]:
        return [
            share
            for share in self._shares
            if self._changed.get(share, 0) > self._written.get(share, (0, 0))[1]
            or (share in self._written and self._passed(share) > self._written[share][0])
        ]

    def _passed(self, share: int) -> int:
        """The floor, and behind it what is no event: markers of transactions, compacted records, duplicates."""
        one = self._shares[share]
        part = self._stream.parts[one.place]
        return max(one.floor, part.position) if one.floor >= part.delivered else one.floor

    def _mark(self, share: int) -> Committed:
        one, floor = self._shares[share], self._passed(share)
        attempts: Mapping[int, Attempt] = dict(one.attempts)
        return Committed(floor, Marks(self.epoch, frozenset(seq for seq in one.done if seq > floor), attempts))
