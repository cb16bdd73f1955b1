"""Raw pulls of one JetStream consumer: MSG.NEXT requests whose deliveries all arrive at one callback, re-armed at half.

Knows what was received and not yet committed, and which ack stands for it; decides nothing about ownership.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from eventbus.bus import Deliver, Incoming
from eventbus.cloudevents import ordering_key
from eventbus.errors import BusError
from eventbus.jetstream import deliveries
from eventbus.jetstream.api import NANOSECONDS
from eventbus.jetstream.connection import Connection, Listening, Message

EXPIRES = 30.0
HEARTBEAT = 5.0
SILENCE = 12.0
"""Seconds without message or heartbeat while a pull is out: the broker has forgotten the pull."""
PULL_BYTES = 8 << 20
"""Above the largest event, so that any one event fits a pull."""


class Pulls:
    """The pulls of one consumer; *broken* is called when the consumer or a pull is gone."""

    def __init__(
        self, connection: Connection, target: str, floor: int, deliver: Deliver, broken: Callable[[], None]
    ) -> None:
        self._connection, self._target = connection, target
        self._deliver, self._broken = deliver, broken
        self.position = self._floor = floor
        """Highest sequence received."""
        self.again = 0
        """Events received before that the consumer, being new, delivers once more; they are skipped."""
        self._wanted = self._armed = 0
        self._held: deque[int] = deque()
        """Received and not committed, ascending."""
        self._replies: dict[int, str] = {}
        self._ackable = ""
        self._arrived: list[Incoming] = []
        self._arming = False
        self._inbox: Listening | None = None
        self._reply = ""
        self._heard = time.monotonic()
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen for deliveries, on an inbox of its own, and pull what is wanted."""
        self._reply = self._connection.inbox()
        self._inbox = await self._connection.listen(self._reply, self._received)
        self._arm_soon()

    async def stop(self) -> None:
        """Take no more deliveries, and forget their acks: those of a consumer that is replaced wedge its successor."""
        inbox, self._inbox = self._inbox, None
        if inbox is not None:
            await inbox.stop()
        self._replies.clear()
        self._ackable = ""
        self._armed, self.again = 0, len(self._held)

    def request(self, events: int) -> None:
        self._wanted += events
        self._arm_soon()

    def outstanding(self) -> int:
        return self._wanted

    def silent(self) -> bool:
        """Whether a pull is out of which nothing was heard for too long."""
        return self._armed > 0 and time.monotonic() - self._heard > SILENCE

    def passed(self, floor: int) -> None:
        """Everything up to *floor* is committed."""
        self._floor = max(self._floor, floor)
        while self._held and self._held[0] <= self._floor:
            self._ackable = self._replies.pop(self._held.popleft(), self._ackable)

    async def acknowledge(self) -> None:
        """Ack-all up to the floor. Without an answer: an ack that is lost costs a duplicate, never an event."""
        reply, self._ackable = self._ackable, ""
        if reply and self._connection.connected:
            await self._connection.send(reply, b"")

    def _arm_soon(self) -> None:
        wanted = self._wanted + self.again
        if not self._arming and self._armed < wanted and self._armed <= wanted // 2:
            self._arming = True
            asyncio.get_running_loop().call_soon(self._arm)

    def _arm(self) -> None:
        self._arming = False
        batch = self._wanted + self.again - self._armed
        if batch > 0 and self._inbox is not None:
            self._armed += batch
            task = asyncio.get_running_loop().create_task(self._pull(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pull(self, batch: int) -> None:
        pull = deliveries.request(batch, expires=EXPIRES, heartbeat=HEARTBEAT, max_bytes=PULL_BYTES)
        self._heard = time.monotonic()
        try:
            await self._connection.send(self._target, pull, self._reply)
        except BusError:
            self._broken()

    def _received(self, message: Message) -> None:
        self._heard = time.monotonic()
        place, reply = deliveries.delivered(message), message.reply
        if place is None:
            self._control(message)
            return
        seq = place.seq
        self._armed -= 1
        if seq > self.position:
            self.position = seq
            self._wanted -= 1
            self._held.append(seq)
            self._replies[seq] = reply
            if not self._arrived:
                asyncio.get_running_loop().call_soon(self._hand_over)
            data = message.data
            self._arrived.append(Incoming(0, seq, ordering_key(data), data, place.nanoseconds / NANOSECONDS))
        else:
            self.again -= 1
            if seq <= self._floor:
                self._ackable = reply
            else:
                self._replies[seq] = reply
        self._arm_soon()

    def _hand_over(self) -> None:
        arrived, self._arrived = self._arrived, []
        self._deliver(arrived)

    def _control(self, message: Message) -> None:
        """A pull ended: with what it left undelivered where it ran out, without where the consumer is gone."""
        end = deliveries.ended(message)
        if end.heartbeat:
            return
        if end.left is None:
            self._broken()
        elif "Server Shutdown" not in end.description:  # then the connection breaks next
            self._armed = max(0, self._armed - end.left)
            self._arm_soon()
