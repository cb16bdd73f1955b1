"""Watching the records of a topic, or of all, as they come: no group, no progress, nobody waits for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from eventbus.bus import Incoming
from eventbus.errors import BusError
from eventbus.kafka import names
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.dialect import Dialect
from eventbus.kafka.stream import Stream
from eventbus.kafka.topics import Topics
from eventbus.kafka.wire import EARLIEST, LATEST

BATCH = 256
"""Events that are held for a reader."""
LOOK_FOR_TOPICS = 1.0


async def tail(
    cluster: Cluster, topics: Topics, subject: str, since: datetime | None, dialect: Dialect
) -> AsyncIterator[Incoming]:
    """In order within a partition; topics that appear later are read from their first record."""
    queue: asyncio.Queue[Incoming | str] = asyncio.Queue()

    def admit(share: int, found: Found) -> Incoming | None:
        event = dialect.incoming(share, found)
        return None if event.flaw else event

    def deliver(events: Sequence[Incoming]) -> None:
        for event in events:
            queue.put_nowait(event)

    stream = Stream(cluster, admit, deliver, queue.put_nowait)
    stream.start()
    stream.request(BATCH)
    begun = False
    try:
        while True:
            try:
                await _widen(cluster, topics, stream, subject, LATEST if since is None and not begun else since)
                begun = True
            except BusError:
                if not begun:
                    raise
            end = asyncio.get_running_loop().time() + LOOK_FOR_TOPICS
            try:
                while True:
                    async with asyncio.timeout_at(end):
                        event = await queue.get()
                    if isinstance(event, str):
                        return
                    stream.request(1)
                    yield event
            except TimeoutError:
                pass
    finally:
        await stream.stop()


async def _widen(cluster: Cluster, topics: Topics, stream: Stream, subject: str, since: datetime | int | None) -> None:
    """Follow partitions that are there now, each *since* a time, or LATEST, or from its beginning; raises BusError."""
    there = await cluster.topics() if subject == ">" else [names.topic(subject)]
    wanted = [name for name in there if subject != ">" or names.foreign(name)]
    places = [place for place in await topics.places(wanted) if place not in stream.parts]
    if places:
        asked = int(since.timestamp() * 1000) if isinstance(since, datetime) else EARLIEST if since is None else since
        starts = await cluster.offsets(dict.fromkeys(places, asked))
        ends = await cluster.offsets(dict.fromkeys(places, LATEST))
        for place in places:
            stream.add(place, place[1], starts[place] if starts[place] >= 0 else ends[place])
