"""Kafka topics in: read by a consumer group of our own, committed once the bus has the events."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from api.frames import SourceReading
from api.model import Source
from eventbus.errors import BusError, Missing, SessionTaken
from eventbus.kafka import wire as kafka_wire
from eventbus.kafka.batches import Found
from eventbus.kafka.cluster import Cluster
from eventbus.kafka.dialect import Dialect
from eventbus.kafka.publisher import Publisher
from eventbus.kafka.records import Stored
from eventbus.kafka.settings import Settings
from triggers.sources.kafka_events import kafka_event
from triggers.sources.kafka_reading import Reading, Wanted
from triggers.sources.manners import manner
from triggers.sources.outlet import Outlet
from triggers.sources.source import BadSource, Publish, SourceError
from triggers.sources.storing import Brought

RETRY_FIRST, RETRY_CAP = 0.1, 5.0
TAKEN = 10.0
"""Seconds until a source that was replaced in its group joins again: it will have been assigned away by then."""
ACKNOWLEDGED_WITHIN = 9.0

log = logging.getLogger(__name__)


class KafkaSource:
    """Options: those of api.kinds.sources.KafkaSource, and consumerGroup."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        owner, _, event = source.key.name.partition(".")
        self._key = source.key
        self._settings = Settings.read(options)
        topics = tuple(one for part in options.get("topic", "").split(",") if (one := part.strip()))
        self._wanted = Wanted(
            topics=topics,
            group=options.get("consumerGroup") or f"{source.key.namespace}-{owner}-{event}",
            from_oldest=options.get("start") == "all",
        )
        self._manner = manner(source, "kafka", ",".join(topics))
        self._dialect = Dialect(options.get("binding") or owner, options)
        if not options.get("brokers") or not topics:
            raise BadSource("brokers and topic are needed", hint="write brokers: host:9092 and topic: name")
        self._largest = int(options.get("maxMessageBytes") or 1_000_000)
        self._cluster: Cluster | None = None
        self._outlet: Outlet | None = None
        self._connected = False
        self._trouble = ("", "")
        self._turn = 0

    async def run(self, publish: Publish) -> None:
        outlet = self._outlet = Outlet(self._key, self._manner.uri, publish)
        wait = RETRY_FIRST
        while True:
            before = outlet.received
            try:
                await self._session(outlet)
            except BusError as error:
                self._trouble = (error.reason if error.reason != BusError.reason else "Unreachable", str(error))
                log.info("%s: %s", self._key, error)
                wait = RETRY_FIRST if outlet.received > before else min(wait * 2, RETRY_CAP)
                if isinstance(error, SessionTaken):
                    wait = TAKEN
            await asyncio.sleep(wait)

    async def _session(self, outlet: Outlet) -> None:
        """Connect and read until that fails."""
        cluster = self._cluster = Cluster(self._settings)
        try:
            await cluster.connect()
            self._connected, self._trouble = True, ("", "")
            await Reading(cluster, self._wanted, outlet, self._event).run()
        finally:
            self._connected, self._cluster = False, None
            await cluster.close()

    def _event(self, found: Found) -> Brought:
        return kafka_event(self._manner, self._dialect, found)

    def state(self) -> SourceReading:
        reason, message = self._trouble
        outlet = self._outlet
        if outlet is not None and not reason:
            reason, message = outlet.trouble()
        return SourceReading(
            source=self._key,
            connected=self._connected,
            received=outlet.received if outlet else 0,
            published=outlet.published if outlet else 0,
            reason=reason,
            message=message,
        )

    async def publish(self, topic: str, payload: bytes) -> None:
        """Append a record to the topic, acknowledged by all in-sync replicas."""
        wanted, cluster = topic or self._wanted.topics[0], self._cluster
        if wanted not in self._wanted.topics:
            raise SourceError(f"this source reads topic {', '.join(self._wanted.topics)}, not {topic!r}")
        if len(payload) > self._largest:
            raise SourceError(f"the message has {len(payload)} bytes, maxMessageBytes is {self._largest}")
        if cluster is None or not self._connected:
            raise SourceError(self._trouble[1] or "the source is not connected yet")
        publisher = Publisher(cluster, ACKNOWLEDGED_WITHIN)
        try:
            partitions = await cluster.partitions(wanted)
            if not partitions:
                raise Missing(f"{cluster.brokers} has no topic {wanted}")
            self._turn += 1
            place = wanted, kafka_wire.partition(None, partitions, self._turn)
            await publisher.publish(place, Stored(None, payload, []))
        except BusError as error:
            raise SourceError(error.message, hint=error.hint) from error
        finally:
            publisher.stop("done")
