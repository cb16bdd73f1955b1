"""Dead letters on Kafka: one compacted topic per subscription, the letter's id as key, a tombstone where it was taken.

Storing twice writes two records; a listing shows the later one in the place of the first, as compaction leaves it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Collection

import msgspec

from api.meta import Key
from eventbus.bus import DeadLetter
from eventbus.kafka import names
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.publisher import Publisher
from eventbus.kafka.reading import stored
from eventbus.kafka.records import Stored
from eventbus.kafka.topics import LETTERS, Topics


class Letters:
    def __init__(self, cluster: Cluster, topics: Topics, publisher: Publisher) -> None:
        self._cluster, self._topics, self._publisher = cluster, topics, publisher

    async def store(self, letter: DeadLetter) -> None:
        await self._write(letter.subscription, letter, msgspec.json.encode(letter))

    async def delete(self, letter: DeadLetter) -> None:
        await self._write(letter.subscription, letter, None)

    async def _write(self, subscription: Key, letter: DeadLetter, value: bytes | None) -> None:
        topic = names.letters(subscription)
        await self._topics.ensure(topic, LETTERS)
        record = Stored(names.letter(letter.id, letter.subject), value, [])
        await self._publisher.publish((topic, 0), record)

    async def each(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        """Oldest first."""
        for letter in await self._read(subscription):
            yield letter

    async def _read(self, subscription: Key) -> list[DeadLetter]:
        topic = names.letters(subscription)
        if not await self._topics.look(topic):
            return []
        found: dict[bytes, DeadLetter] = {}
        lane = object()
        try:
            async for record, _ in stored(self._cluster, (topic, 0), lane):
                if record.key is None:
                    continue
                if record.value is None:
                    found.pop(record.key, None)
                    continue
                with contextlib.suppress(msgspec.DecodeError):  # nothing of ours
                    found[record.key] = msgspec.json.decode(record.value, type=DeadLetter)
        finally:
            self._cluster.leave_lane(lane)
        return list(found.values())

    async def purge(self, subscription: Key, ids: Collection[str] | None) -> int:
        gone = [letter for letter in await self._read(subscription) if ids is None or letter.id in ids]
        await asyncio.gather(*(self.delete(letter) for letter in gone))
        return len(gone)
