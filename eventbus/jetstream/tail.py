"""Watching events go by: ephemeral pull consumers that nobody waits for and that vanish with their reader."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

from api.meta import Key
from eventbus import subjects
from eventbus.bus import Incoming
from eventbus.cloudevents import ordering_key
from eventbus.errors import BusError
from eventbus.jetstream import deliveries
from eventbus.jetstream.api import NANOSECONDS, ApiError, JetStream
from eventbus.jetstream.connection import Listening, Message

BATCH = 64
EXPIRES = 5
"""Seconds of one pull; also how soon a restarted broker is noticed."""
FORGET_AFTER = 30
"""Seconds after which the broker drops the consumer of a reader that went away."""
LOOK_FOR_TOPICS = 1.0


async def tail(js: JetStream, bus: Key, subject: str, since: datetime | None) -> AsyncIterator[Incoming]:
    """Events of one topic, or of all (``>``), topics that appear later included; in order within a topic."""
    queue: asyncio.Queue[Incoming] = asyncio.Queue(BATCH * 4)
    followed: dict[str, asyncio.Task[None]] = {}
    every = subject == ">"
    began = datetime.now(UTC)
    filter_ = subjects.all_topics(bus) if every else subjects.topic(bus, subject).events
    try:
        while True:
            # a topic that appears later is read from its first event
            start = since if since is not None or not followed else began
            for stream in await _streams(js, filter_):
                if stream not in followed:
                    follower = _Follower(js, stream, filter_, queue, start)
                    await follower.start()
                    followed[stream] = asyncio.get_running_loop().create_task(follower.run())
            try:
                async with asyncio.timeout(LOOK_FOR_TOPICS if every or not followed else None):
                    yield await queue.get()
            except TimeoutError:
                continue
    finally:
        for task in followed.values():
            task.cancel()
        await asyncio.gather(*followed.values(), return_exceptions=True)


async def _streams(js: JetStream, filter_: str) -> list[str]:
    try:
        return await js.stream_names(filter_)
    except BusError:
        return []  # asked again in a second


class _Follower:
    """Copies one stream into the queue, as fast as the reader takes it."""

    def __init__(
        self, js: JetStream, stream: str, filter_: str, queue: asyncio.Queue[Incoming], since: datetime | None
    ) -> None:
        self._js, self._stream, self._filter, self._queue, self._since = js, stream, filter_, queue, since
        self._consumer = ""
        self._last = 0
        self._arrived: asyncio.Queue[Message] = asyncio.Queue()
        self._inbox = js.connection.inbox()
        self._listening: Listening | None = None

    async def start(self) -> None:
        """Create the consumer, so that what is published from now on is seen."""
        start: dict[str, Any] = {"deliver_policy": "new"}
        if self._last:
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._last + 1}
        elif self._since is not None:
            start = {"deliver_policy": "by_start_time", "opt_start_time": self._since.isoformat()}
        self._consumer = f"tail-{self._inbox.rpartition('.')[2]}"
        await self._js.delete_consumer(self._stream, self._consumer)
        info = await self._js.create_consumer(
            self._stream,
            {
                "name": self._consumer,
                "filter_subjects": [self._filter],
                "ack_policy": "none",
                "inactive_threshold": FORGET_AFTER * NANOSECONDS,
                "mem_storage": True,
                **start,
            },
        )
        self._last = max(self._last, info.delivered.stream_seq)

    async def run(self) -> None:
        self._listening = await self._js.connection.listen(self._inbox, self._arrived.put_nowait)
        try:
            while True:
                try:
                    await self._batch()
                except BusError:
                    await self._again()
        finally:
            await self._listening.stop()

    async def _batch(self) -> None:
        """One pull, to its end; raises when the consumer is gone."""
        pull = deliveries.request(BATCH, expires=EXPIRES)
        await self._js.connection.send(deliveries.target(self._stream, self._consumer), pull, self._inbox)
        for _ in range(BATCH):
            try:
                async with asyncio.timeout(EXPIRES + 2):
                    message = await self._arrived.get()
            except TimeoutError:
                raise ApiError(0, "a pull got no answer") from None
            place = deliveries.delivered(message)
            if place is None:
                end = deliveries.ended(message)
                if end.code == "408":
                    return
                raise ApiError(int(end.code), "pull ended")
            if place.seq > self._last:
                self._last = place.seq
                stored = place.nanoseconds / NANOSECONDS
                await self._queue.put(Incoming(0, place.seq, ordering_key(message.data), message.data, stored))

    async def _again(self) -> None:
        await asyncio.sleep(0.2)  # the broker restarts, or forgot a reader that was too slow
        try:
            await self.start()
        except BusError:
            return
