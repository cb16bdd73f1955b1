"""One owner's hold on one JetStream subscription: raw pulls on one inbox, floor and done map kept, lease renewed.

Pulls are MSG.NEXT requests whose deliveries all arrive at one callback; they are re-armed at half. After a broken
connection, or when the broker lost a pull, the consumer is made again behind the committed floor and what was received
before is skipped: a delivery that was lost on the wire would otherwise wait for the broker's 24 h timer.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Collection, Coroutine

import msgspec

from eventbus.bus import Attempt, DeadLetter, Deliver, Incoming, Lost, Progress
from eventbus.cloudevents import ordering_key
from eventbus.errors import BusError, DeadLetterRefused, Fenced, LagUnknown
from eventbus.jetstream import NANOSECONDS, WRONG_LAST, ApiError
from eventbus.letters import Letters
from eventbus.nats import Connection, Listening, Message, status
from eventbus.ownership import Claim, Membership
from eventbus.progress import Mark

FRESH = 4.0
"""Seconds of monotonic time that one renewal is good for."""
RENEW = 2.0
TICK = 1.0
"""Seconds between two writes of the done map, at the least."""
EXPIRES = 30.0
HEARTBEAT = 5.0
SILENCE = 12.0
"""Seconds without message or heartbeat while a pull is out: the broker has forgotten the pull."""
PULL_BYTES = 8 << 20
"""Above the largest event, so that any one event fits a pull."""


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
        self._position = mark.floor
        self._held: deque[int] = deque()
        """Received and not committed, ascending."""
        self._replies: dict[int, str] = {}
        self._ackable = ""
        self._wanted = self._armed = self._again = 0
        self._arming = False
        self._arrived: list[Incoming] = []
        self._bells: list[Listening] = []
        self._inbox: Listening | None = None
        self._reply = ""
        self._alive = True
        self._renewed = self._heard = time.monotonic()
        self._recovery: asyncio.Task[None] | None = None
        self._recover_again = False
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for deliveries and keep the lease; called once, before the owner sees the intake."""
        self._inbox = await self._listen()
        self._connection.on_up.append(self._reconnected)
        self._connection.on_closed.append(self._give_up)
        self._run(self._keep())

    async def _listen(self) -> Listening:
        self._reply = self._connection.inbox()
        return await self._connection.listen(self._reply, self._received)

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

    def request(self, events: int) -> None:
        self._wanted += events
        self._arm_soon()

    def outstanding(self) -> int:
        return self._wanted

    def _arm_soon(self) -> None:
        wanted = self._wanted + self._again
        if not self._arming and self._alive and self._armed < wanted and self._armed <= wanted // 2:
            self._arming = True
            asyncio.get_running_loop().call_soon(self._arm)

    def _arm(self) -> None:
        self._arming = False
        batch = self._wanted + self._again - self._armed
        if batch > 0 and self._alive and self._recovery is None:
            self._armed += batch
            self._run(self._pull(batch))

    async def _pull(self, batch: int) -> None:
        pull = {
            "batch": batch,
            "max_bytes": PULL_BYTES,
            "expires": int(EXPIRES * NANOSECONDS),
            "idle_heartbeat": int(HEARTBEAT * NANOSECONDS),
        }
        name = self._membership.consumer(self.epoch)
        self._heard = time.monotonic()
        try:
            await self._connection.send(
                f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{name}", msgspec.json.encode(pull), self._reply
            )
        except BusError:
            self._recover()

    def _received(self, message: Message) -> None:
        self._heard = time.monotonic()
        reply = message.reply
        if not reply.startswith("$JS.ACK."):
            self._control(message)
            return
        tokens = reply.split(".")
        at = 5 if len(tokens) == 9 else 7  # 9 tokens, or 11 and more with domain and account (ADR-15)
        seq = int(tokens[at])
        self._armed -= 1
        if seq > self._position:
            self._position = seq
            self._wanted -= 1
            self._held.append(seq)
            self._replies[seq] = reply
            if not self._arrived:
                asyncio.get_running_loop().call_soon(self._hand_over)
            data = message.data
            self._arrived.append(Incoming(0, seq, ordering_key(data), data, int(tokens[at + 2]) / NANOSECONDS))
        else:
            self._again -= 1
            if seq <= self._floor:
                self._ackable = reply
            else:
                self._replies[seq] = reply
        self._arm_soon()

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        if self._alive:
            self._deliver(arrived)

    def _control(self, message: Message) -> None:
        code = status(message.headers)
        headers = message.headers or {}
        description = headers.get("Description", "")
        if code == "100":
            return
        if code in {"408", "409"} and ("Nats-Pending-Messages" in headers or "Consumer Deleted" not in description):
            self._armed = max(0, self._armed - int(headers.get("Nats-Pending-Messages", "0")))
            if "Server Shutdown" not in description:
                self._arm_soon()
            return
        self._recover()

    async def read(self, share: int, seq: int) -> bytes:  # noqa: ARG002  # JetStream has one share
        return await self._js.payload(self._stream, seq)

    async def commit(self, share: int, floor: int, done: Collection[int]) -> None:  # noqa: ARG002  # JetStream has one share
        if not self._alive:
            return
        self._floor = max(self._floor, floor)
        if done:
            self._done.update(done)
            self._dirty = True
        while self._held and self._held[0] <= self._floor:
            self._ackable = self._replies.pop(self._held.popleft(), self._ackable)
        await self._acknowledge()

    async def _acknowledge(self) -> None:
        """Ack-all up to the floor. Without an answer: an ack that is lost costs a duplicate, never an event."""
        reply, self._ackable = self._ackable, ""
        if reply and self._connection.connected:
            await self._connection.send(reply, b"")

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
        info = await self._js.consumer_info(self._stream, self._membership.consumer(self.epoch))
        if info is None:
            raise LagUnknown(f"the consumer of {self._membership.subscription.key} is gone")
        return max(0, info.num_pending - self._again)

    async def arm(self, bell: Callable[[], None]) -> int:
        await self.disarm()
        for subject in self._membership.filters:
            self._bells.append(await self._connection.listen(subject, lambda _: bell()))
        # The SUBs stand once this is answered (a flush would not tell). Its count may be too low: what was published
        # just before waits in the stream's queue, and new messages are counted a moment after they are stored.
        pending = await self.pending()
        if pending:
            return pending
        await self._js.barrier(self._membership.topic.barrier)
        for subject in self._membership.filters:
            if await self._js.any_from(self._stream, self._position + 1, subject):
                return max(1, await self.pending())
        return 0

    async def disarm(self) -> None:
        bells, self._bells = self._bells, []
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
        if self._inbox is not None:
            await self._inbox.stop()
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
                await self._acknowledge()
            except BusError:
                pass  # `fresh` turns False by itself, and the next tick tries again
            if self._armed > 0 and time.monotonic() - self._heard > SILENCE:
                self._recover()
            await asyncio.sleep(TICK)

    async def _renew(self) -> None:
        began = time.monotonic()
        await self._check()
        if not self.alive:
            return
        await self._membership.records.live.put(self._membership.key, str(self.epoch).encode())
        self._renewed = began
        for seq in [seq for seq in self._recorded if seq <= self._floor]:
            await self._membership.records.attempts.delete(f"{self._membership.key}.{seq}")
            self._recorded.discard(seq)

    async def _check(self) -> None:
        """Lost when the owner key is no longer of this epoch."""
        _, current = await self._membership.owner()
        if current != self.epoch:
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
        self._arm_soon()

    async def _replace_consumer(self) -> None:
        if self._inbox is not None:
            await self._inbox.stop()
        self._replies.clear()
        self._ackable = ""  # acks of the old consumer would wedge the new one, which has its name
        floor, again = self._floor, len(self._held)  # what is committed from here on comes once more, and is acked then
        await self._save_window()
        await self._js.delete_consumer(self._stream, self._membership.consumer(self.epoch))
        await self._membership.create_consumer(self.epoch, floor)
        self._armed, self._again = 0, again
        self._inbox = await self._listen()
