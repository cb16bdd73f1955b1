"""Publishes of one stream, and how they go out: at once, as one atomic batch, or after what is under way.

A broker that syncs every message needs one fsync per message, and about six for an atomic batch of any size (to stage
it and to commit it). So few publishes go singly and many as a batch; a batch is what queued up while the last one was
under way, and a lone publish waits for nothing. Behind a batch nothing is sent until it is answered: if it is refused,
its publishes go singly, and nobody may overtake them.
"""

from __future__ import annotations

import asyncio
from collections import deque

from eventbus.jetstream.api import Ack

FEW = 12
"""Publishes that go singly; from here on a batch needs fewer fsyncs."""
BATCH = 100
"""Most publishes of one batch; the server takes 1,000."""
BATCH_BYTES = 4 << 20


class Publish:
    """One publish that waits for its acknowledgement."""

    __slots__ = ("answer", "headers", "lane", "payload", "round", "subject", "timer", "token")

    def __init__(
        self, token: str, subject: str, payload: bytes, headers: dict[str, str] | None, lane: Lane | None
    ) -> None:
        self.token, self.subject, self.payload, self.headers, self.lane = token, subject, payload, headers, lane
        self.answer: asyncio.Future[Ack] = asyncio.get_running_loop().create_future()
        self.round = -1
        """Connection on which it was sent last; -1: on none."""
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, outcome: Ack | Exception) -> None:
        """Answer it, unless it was answered or given up before."""
        if self.answer.done():
            return
        if isinstance(outcome, Exception):
            self.answer.set_exception(outcome)
        else:
            self.answer.set_result(outcome)


class Lane:
    """What waits, what is under way, and what is next, of one stream."""

    def __init__(self) -> None:
        self._queue: deque[Publish] = deque()
        self._again: deque[Publish] = deque()
        """Of a refused batch: they go singly, before everything else."""
        self._alone: set[Publish] = set()
        self._batch: list[Publish] = []
        self._crowded = False
        """The last that went out were many: more will come in the same turn of the loop."""

    @property
    def idle(self) -> bool:
        """Whether the next publish is a lone one."""
        return not (self._queue or self._again or self._alone or self._batch or self._crowded)

    @property
    def waits(self) -> bool:
        """Whether something is not sent yet."""
        return bool(self._queue or self._again)

    def add(self, publish: Publish) -> None:
        self._queue.append(publish)

    def take(self) -> list[Publish]:
        """What goes out now: nothing, one, or a batch."""
        if self._again:
            return self.sent_alone(self._again.popleft())
        if self._batch:
            return []
        while self._queue and self._queue[0].answer.done():
            self._queue.popleft()
        if len(self._queue) >= FEW:
            batch = self._cut()
            if len(batch) > 1:
                self._batch, self._crowded = batch, True
                return batch
            return self.sent_alone(batch[0])
        if self._queue and len(self._alone) < FEW:
            self._crowded = False
            return self.sent_alone(self._queue.popleft())
        return []

    def _cut(self) -> list[Publish]:
        cut = [self._queue.popleft()]
        size = len(cut[0].payload)
        while self._queue and len(cut) < BATCH and size + len(self._queue[0].payload) <= BATCH_BYTES:
            publish = self._queue.popleft()
            if not publish.answer.done():
                cut.append(publish)
                size += len(publish.payload)
        return cut

    def sent_alone(self, publish: Publish) -> list[Publish]:
        self._alone.add(publish)
        return [publish]

    def refused(self) -> None:
        """The batch is not stored, nothing of it."""
        self._again.extend(publish for publish in self._batch if not publish.answer.done())
        self._batch = []

    def left(self, publish: Publish) -> None:
        """It was answered or given up."""
        self._alone.discard(publish)
        if self._batch and all(one.answer.done() for one in self._batch):
            self._batch = []

    def broken(self) -> None:
        """The connection broke: what was under way is the publisher's to send again, what waits goes on waiting."""
        self._again.clear()
        self._alone.clear()
        self._batch = []
