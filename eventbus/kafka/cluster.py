"""A connection to one Kafka cluster that speaks in this package's errors, and comes back by itself.

It and the two modules beside it that build requests (wire.py) and record batches (batches.py) are the only
ones that import aiokafka. Its client keeps metadata and one connection per broker and *lane*; producer, consumer and
coordinator are ours, above: see docs/decisions/0006-kafka-client.md.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Collection, Mapping
from typing import Any

from aiokafka import errors
from aiokafka.client import AIOKafkaClient, CoordinationType
from aiokafka.conn import AIOKafkaConnection, collect_hosts
from aiokafka.structs import TopicPartition

from eventbus.diagnosis import diagnose
from eventbus.errors import AuthFailed, BusError, Unreachable
from eventbus.kafka import wire
from eventbus.kafka.settings import Settings
from eventbus.kafka.wire import Fault, Place

logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # what it says reaches people through our errors

TIMEOUT = 6.0
"""Seconds for an answer: longer than a first member of a group waits for others (3 s by default)."""
MOVING = 3.0
"""Seconds for which a partition whose leader is moving is asked again."""
CLOSING = 1.0
"""Seconds for the end of connections when all is left."""
REFRESHED = 15.0
"""Seconds after which metadata that do not come are given up."""
WATCH = 1.0
"""Seconds between two looks at a cluster that is not needed otherwise."""
METADATA_AGE = 3_000
"""Milliseconds after which new topics and partitions are seen at the latest."""


class Cluster:
    """Calls to brokers; every method raises BusError subclasses only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None
        self._watching: asyncio.Task[None] | None = None
        self._coordinators: dict[str, int] = {}
        self._closing: set[asyncio.Future[None]] = set()
        self.connected = False
        self.trouble: BusError | None = None
        """Why it is not connected."""

    async def connect(self) -> int:
        """Connect once, answer how many brokers there are; raises what stands in the way."""
        arguments = self._settings.arguments(TIMEOUT)
        await self._probe(arguments)
        await self._leave()
        client = AIOKafkaClient(bootstrap_servers=self.brokers, metadata_max_age_ms=METADATA_AGE, **arguments)
        try:
            await client.bootstrap()
        except (errors.KafkaError, OSError, TimeoutError) as error:
            await client.close()
            raise _translated(error, self.brokers) from error
        self._client, self.trouble = client, None
        try:
            await self.call(None, wire.alive())
        except BusError as error:
            await self._leave()
            raise Unreachable(
                f"{self.brokers} names brokers that cannot be reached from here", hint="check advertised.listeners"
            ) from error
        self._watching = asyncio.get_running_loop().create_task(self._watch(arguments), name="watch Kafka")
        return len(client.cluster.brokers())

    async def _probe(self, arguments: Mapping[str, Any]) -> None:
        """Open a connection and close it: the client itself does not tell why it has none."""
        first: BusError | None = None
        for host, port, _ in collect_hosts(self.brokers, randomize=False):
            connection = AIOKafkaConnection(host, port, **arguments)
            try:
                await connection.connect()
            except (errors.KafkaError, OSError, TimeoutError, AssertionError, ValueError) as error:
                first = first or _translated(error, f"{host}:{port}")
            else:
                return
            finally:
                self._end(connection)  # one that failed half way still has its socket
        if isinstance(first, AuthFailed):
            raise first
        found = await diagnose("kafka", self._settings.diagnosed())
        raise found or first or Unreachable("no broker is named")

    async def _watch(self, arguments: Mapping[str, Any]) -> None:
        while self._watching is asyncio.current_task():  # a cancellation may get lost, see stream.py
            await asyncio.sleep(WATCH)
            try:
                if not self.connected:
                    await self._probe(arguments)
                    await self.refresh()
                await self.call(self._any(), wire.alive())
            except BusError as error:
                self.trouble = error

    @property
    def brokers(self) -> str:
        return self._settings.brokers

    def _any(self) -> int:
        if self._client is None:
            raise Unreachable(f"{self.brokers} is not connected yet")
        node: int | None = self._client.get_random_node()
        if node is None:
            raise Unreachable(f"{self.brokers}: no broker is known")
        return node

    async def call(self, node: int | None, request: Any, lane: object = 0) -> Any:
        """One request, one answer; *node* None is any broker. Requests of one lane are answered in turn."""
        try:
            answer = await self._client.send(self._any() if node is None else node, request, group=lane)
        except (errors.KafkaError, OSError, TimeoutError, KeyError, AttributeError, RuntimeError) as error:
            if isinstance(error, AttributeError) and self._client is not None:
                raise
            self.connected = False
            self._coordinators.clear()
            raise _translated(error, self.brokers, str(self.trouble or "")) from error
        self.connected = True
        return answer

    async def refresh(self) -> None:
        """Read leaders and partitions anew; raises Unreachable.

        Of all topics: asking for one by its name makes it on a cluster that makes topics by itself.
        """
        if self._client is None or not await _updated(self._client):
            self.connected = False
            raise Unreachable(f"{self.brokers} does not answer", hint=str(self.trouble or ""))

    def leader(self, place: Place) -> int | None:
        """The broker that has the partition; None while that is not known."""
        if self._client is None:
            return None
        found: int | None = self._client.cluster.leader_for_partition(TopicPartition(*place))
        return None if found in {None, -1} else found

    async def partitions(self, topic: str) -> list[int]:
        """Partitions of a topic, empty when there is none of that name."""
        if self._client is None:
            raise Unreachable(f"{self.brokers} is not connected yet")
        cluster = self._client.cluster
        if not cluster.partitions_for_topic(topic):
            await self.refresh()
        return self.known(topic)

    def known(self, topic: str) -> list[int]:
        """Partitions as last seen: no older than METADATA_AGE."""
        if self._client is None:
            return []
        found: Collection[int] = self._client.cluster.partitions_for_topic(topic) or ()
        return sorted(found)

    async def topics(self) -> list[str]:
        """Every topic of the cluster that the user may see, but the brokers' own."""
        await self.refresh()
        return sorted(self._client.cluster.topics(exclude_internal_topics=True))

    async def coordinator(self, group: str) -> int:
        if group not in self._coordinators:
            self._any()
            try:
                node = await self._client.coordinator_lookup(CoordinationType.GROUP, group)
            except (errors.KafkaError, OSError, TimeoutError) as error:
                raise _translated(error, self.brokers, str(self.trouble or "")) from error
            if self._client.cluster.broker_metadata(node) is None:
                await self.refresh()
            self._coordinators[group] = node
        return self._coordinators[group]

    def coordinator_moved(self, group: str) -> None:
        self._coordinators.pop(group, None)

    async def offsets(self, times: Mapping[Place, int]) -> dict[Place, int]:
        """For each place the offset of EARLIEST, LATEST, or of the first record since the milliseconds; -1: none."""
        end = asyncio.get_running_loop().time() + MOVING
        while True:
            try:
                return await self._offsets(times)
            except Fault as error:  # a leader that is moving, or that is new
                if error.number not in wire.RETRIABLE or asyncio.get_running_loop().time() > end:
                    raise
            await asyncio.sleep(0.05)

    async def _offsets(self, times: Mapping[Place, int]) -> dict[Place, int]:
        by_node: dict[int, dict[Place, int]] = {}
        for place, time in times.items():
            node = self.leader(place)
            if node is None:
                await self.refresh()
                raise Unreachable(f"partition {place[0]}-{place[1]} has no leader now")
            by_node.setdefault(node, {})[place] = time
        found: dict[Place, int] = {}
        for node, asked in by_node.items():
            answer = await self.call(node, wire.offsets(asked))
            for topic, partitions in answer.topics:
                for partition, error, _, offset in partitions:
                    if error:
                        await self.refresh()
                    wire.check(error, f"offsets of {topic}-{partition}")
                    found[topic, partition] = offset
        return found

    def leave_lane(self, lane: object) -> None:
        """Close the connections of *lane*."""
        if self._client is not None:
            connections = self._client._conns  # it closes all or none
            for where in [where for where in connections if where[1] == lane]:
                self._end(connections.pop(where))

    def _end(self, connection: AIOKafkaConnection) -> None:
        """Close it; TLS says goodbye before its socket ends, and _leave() waits for that."""
        self._closing = {one for one in self._closing if not one.done()}
        if (closed := connection.close()) is not None:
            self._closing.add(closed)

    async def _leave(self) -> None:
        watching, self._watching = self._watching, None
        if watching is not None:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching
        client, self._client = self._client, None
        if client is not None:
            await client.close()
        if closing := {one for one in self._closing if not one.done()}:
            await asyncio.wait(closing, timeout=CLOSING)
        self._closing.clear()

    async def close(self) -> None:
        self.connected = False
        await self._leave()


async def _updated(client: Any) -> bool:
    """Whether the metadata were read anew.

    The client's own task for that ends for good on an error that it does not foresee, as a write to a connection that
    uvloop closed already; then everybody would wait for ever.
    """
    task = client._sync_task
    if task is not None and task.done():
        client._md_update_fut = None
        client._sync_task = asyncio.get_running_loop().create_task(client._md_synchronizer())
    try:
        async with asyncio.timeout(REFRESHED):
            return bool(await client.force_metadata_update())
    except TimeoutError:
        return False


def _translated(error: BaseException, where: str, trouble: str = "") -> BusError:
    """Our error for one of the client's; what stands in the way of a connection is found out by diagnosis.py."""
    text = str(error) or type(error).__name__
    refused = (errors.SaslAuthenticationFailed, errors.UnsupportedSaslMechanismError, ValueError)
    if isinstance(error, refused) and not isinstance(error, OSError | UnicodeError):  # a bad certificate, a bad name
        hint = "check saslUsername, saslPassword and saslMechanism"
        return AuthFailed(f"{where} refused the credentials: {text}", hint=hint)
    if isinstance(error, errors.IllegalSaslStateError):
        return AuthFailed(f"{where} takes no SASL", hint="leave authRequired and saslUsername out")
    if isinstance(error, errors.BrokerResponseError):
        return Fault(error.errno, where)
    if isinstance(error, TimeoutError | errors.RequestTimedOutError):
        return Unreachable(f"{where} does not answer in time")
    return Unreachable(f"{where}: {trouble or text}")
