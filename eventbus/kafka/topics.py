"""Topics of a Kafka cluster: used as they stand, made when they are first needed."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Mapping

from eventbus.errors import AuthFailed, Unreachable
from eventbus.kafka import wire
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.wire import Fault, Place

MAX_EVENT = 4 << 20
"""Bytes of one event, as on every bus."""
EVENTS = {"max.message.bytes": str(MAX_EVENT + (64 << 10))}
REPLAYS = dict(EVENTS)
LETTERS = {"max.message.bytes": str(2 * MAX_EVENT), "cleanup.policy": "compact"}
"""A letter holds its event in base64."""
READ_AGAIN = 1.0
"""Seconds for which partitions are taken from here, and then from what the cluster said last."""
SEEN_WITHIN = 5.0
"""Seconds until a topic that was just made must be known everywhere."""


class Topics:
    """Those that this bus has used."""

    def __init__(self, cluster: Cluster, partitions: int) -> None:
        self._cluster, self._partitions = cluster, partitions
        self._known: dict[str, list[int]] = {}
        self._making: dict[str, asyncio.Lock] = {}
        self._queued: Counter[str] = Counter()
        self._read = time.monotonic()

    def ready(self, topic: str) -> list[int] | None:
        """Its partitions, where nobody waits to hear of them: so none overtakes who came before."""
        if self._queued[topic]:
            return None
        now = time.monotonic()
        if now - self._read > READ_AGAIN:
            self._read = now
            self._known = {name: found for name in self._known if (found := self._cluster.known(name))}
        return self._known.get(topic)

    async def ensure(self, topic: str, settings: Mapping[str, str] = EVENTS) -> list[int]:
        """Its partitions; made where it does not exist. Callers go on in the order in which they came."""
        self._queued[topic] += 1
        try:
            async with self._making.setdefault(topic, asyncio.Lock()):
                if topic not in self._known:
                    found = await self._cluster.partitions(topic) or await self._make(topic, settings)
                    self._known[topic] = found
                return self._known[topic]
        finally:
            self._queued[topic] -= 1

    async def look(self, topic: str) -> list[int]:
        """Its partitions now, empty where it does not exist."""
        found = await self._cluster.partitions(topic)
        if found:
            self._known[topic] = found
        else:
            self._known.pop(topic, None)
        return found

    def forget(self, topic: str) -> None:
        """It may have been deleted."""
        self._known.pop(topic, None)

    async def _make(self, topic: str, settings: Mapping[str, str]) -> list[int]:
        partitions = self._partitions if settings is EVENTS else 1  # our own topics have one order
        answer = await self._cluster.call(None, wire.create_topic(topic, partitions, settings))
        error = answer.topic_errors[0][1]
        if error in wire.DENIED:
            raise AuthFailed(f"topic {topic} does not exist, and the user may not make it")
        if error != wire.TOPIC_EXISTS:
            wire.check(error, f"making topic {topic}")
        try:
            async with asyncio.timeout(SEEN_WITHIN):
                while not (found := await self._cluster.partitions(topic)):  # noqa: ASYNC110  # nothing tells when
                    await asyncio.sleep(0.02)
                while any(self._cluster.leader((topic, partition)) is None for partition in found):
                    await asyncio.sleep(0.02)
                    await self._cluster.refresh()
        except TimeoutError:
            raise Unreachable(f"topic {topic} was made and is not there yet") from None
        return found

    async def places(self, topics: Collection[str]) -> list[Place]:
        """Every partition of those that exist."""
        return [(topic, partition) for topic in topics for partition in await self.look(topic)]

    async def shorten(self, below: Mapping[Place, int]) -> None:
        """Delete what lies below an offset in each partition."""
        by_node: dict[int, dict[Place, int]] = {}
        for place, offset in below.items():
            node = self._cluster.leader(place)
            if node is not None:
                by_node.setdefault(node, {})[place] = offset
        for node, mine in by_node.items():
            answer = await self._cluster.call(node, wire.delete_records(mine))
            for topic, partitions, *_ in answer.topics:
                for answered in partitions:
                    if answered[2]:
                        raise Fault(answered[2], f"shortening {topic}-{answered[0]}")
