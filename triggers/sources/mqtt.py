"""MQTT in: one owned session, published to the bus before it is acknowledged.

The session has a fixed client id and outlives connections, so what was not acknowledged comes again. Messages of one
MQTT topic reach the bus in arrival order, one at a time; PUBACKs go out in receive order, as the protocol demands
(MQTT 5, 4.6.0-2), and only for the connection on which the message came. What is redelivered after a broken connection
may be on the bus twice: MQTT messages have no identity by which to absorb it.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from collections.abc import Mapping

from paho.mqtt.client import topic_matches_sub

from api.frames import SourceReading
from api.model import Source
from eventbus.cloudevents import Malformed, dedupe_id, encode
from eventbus.errors import BusError, TooLarge
from triggers.sources.mqtt_session import Arrival, Connected, Session, SessionOptions, read_options
from triggers.sources.source import Publish, SourceError, uri

EVENT_TYPE = "io.evoke.mqtt.message"
SATURATED_AFTER = 5.0
"""Seconds that the oldest message may wait for the bus before the source counts as saturated."""
MAX_HELD = 4096
"""Messages held at most; beyond it those of QoS 0, which nobody can hold back, are dropped and counted."""
REMEMBERED = 1024
ACKNOWLEDGED_WITHIN = 9.0
RETRY_FIRST, RETRY_CAP = 0.1, 5.0

log = logging.getLogger(__name__)


class _Held:
    __slots__ = ("arrival", "at", "done", "id")

    def __init__(self, arrival: Arrival, id_: str) -> None:
        self.arrival, self.id = arrival, id_
        self.at = time.monotonic()
        self.done = False


class _Seen:
    """What a packet id of this connection stood for last."""

    __slots__ = ("acknowledged", "fingerprint")

    def __init__(self, fingerprint: int) -> None:
        self.fingerprint, self.acknowledged = fingerprint, False


class MqttSource:
    """Options: url, topic, qos, consumerID, cleanSession, retain, version, caCert, clientCert, clientKey."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        self._key = source.key
        self._uri = uri(source, "mqtt")
        self._options: SessionOptions = read_options(source.key, options)
        self._session = Session(self._options)
        self._boot, self._count = uuid.uuid4().hex[:12], 0
        self._held: deque[_Held] = deque()
        """In receive order, until acknowledged."""
        self._recent: dict[int, _Seen] = {}
        """By packet id, of this connection: held ones and the last acknowledged."""
        self._lanes: dict[str, deque[_Held]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._generation = 0
        self._received = self._published = self._dropped = 0
        self._trouble = ""

    async def run(self, publish: Publish) -> None:
        self._publish = publish
        try:
            async for happened in self._session.run():
                if isinstance(happened, Arrival):
                    self._arrived(happened)
                else:
                    self._connected(happened)
        finally:
            for worker in self._workers:
                worker.cancel()
            self._held.clear()
            self._lanes.clear()
            await self._session.stop()

    def _connected(self, connected: Connected) -> None:
        self._generation = connected.generation
        self._recent.clear()
        if connected.session_present:
            self._forget_unstarted()

    def _forget_unstarted(self) -> None:
        """The broker sends again what was not acknowledged; what waits here would only double it."""
        for lane in self._lanes.values():
            for held in list(lane)[1:]:
                if held.arrival.qos > 0 and held.arrival.generation != self._generation:
                    lane.remove(held)
                    held.done = True

    def _arrived(self, arrival: Arrival) -> None:
        unwanted = arrival.retained and not self._options.retained
        if unwanted or not topic_matches_sub(self._options.topic, arrival.topic):
            self._session.acknowledge(arrival)  # a session still has the filter from before its source was edited
            return
        if self._resent(arrival):
            return
        self._received += 1
        if arrival.qos == 0 and len(self._held) >= MAX_HELD:
            self._dropped += 1
            return
        self._count += 1
        held = _Held(arrival, f"{self._boot}-{self._count}")
        self._held.append(held)
        if arrival.qos > 0:
            self._remember(arrival)
        lane = self._lanes.setdefault(arrival.topic, deque())
        lane.append(held)
        if len(lane) == 1:
            worker = asyncio.get_running_loop().create_task(self._drain(arrival.topic, lane))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _resent(self, arrival: Arrival) -> bool:
        """Whether a broker that does not wait for our PUBACK (nats-server) sent what we hold or just acknowledged."""
        seen = self._recent.get(arrival.mid) if arrival.qos > 0 and arrival.again else None
        if seen is None or seen.fingerprint != hash((arrival.topic, arrival.payload)):
            return False
        if seen.acknowledged:
            self._session.acknowledge(arrival)
        return True

    def _remember(self, arrival: Arrival) -> None:
        self._recent.pop(arrival.mid, None)
        self._recent[arrival.mid] = _Seen(hash((arrival.topic, arrival.payload)))
        if len(self._recent) > MAX_HELD + REMEMBERED:
            del self._recent[next(iter(self._recent))]

    async def _drain(self, topic: str, lane: deque[_Held]) -> None:
        """Publish what one topic holds, in order."""
        while lane:
            await self._store(lane[0])
            lane.popleft()
            self._acknowledge()
        del self._lanes[topic]

    async def _store(self, held: _Held) -> None:
        payload = event(self._uri, held.id, held.arrival)
        wait = RETRY_FIRST
        while True:
            try:
                await self._publish(payload, key=held.arrival.topic, dedupe=dedupe_id(self._uri, held.id))
            except (TooLarge, Malformed) as error:
                self._dropped += 1
                self._trouble = f"a message of {held.arrival.topic} was dropped: {error}"
                log.warning("%s: %s", self._key, self._trouble)
                break
            except BusError as error:
                self._trouble = str(error)
                await asyncio.sleep(wait)
                wait = min(wait * 2, RETRY_CAP)
            else:
                self._published += 1
                self._trouble = ""
                break
        held.done = True

    def _acknowledge(self) -> None:
        while self._held and self._held[0].done:
            arrival = self._held.popleft().arrival
            self._session.acknowledge(arrival)
            seen = self._recent.get(arrival.mid)
            if seen is not None and arrival.generation == self._generation:
                seen.acknowledged = True

    def state(self) -> SourceReading:
        reason, message = self._session.trouble
        if not reason and self._held and time.monotonic() - self._held[0].at > SATURATED_AFTER:
            reason, message = "SourceSaturated", self._trouble or f"{len(self._held)} messages wait for the bus"
        return SourceReading(
            source=self._key,
            connected=self._session.connected,
            received=self._received,
            published=self._published,
            reason=reason,
            message=message or (f"{self._dropped} messages were dropped" if self._dropped else ""),
        )

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 through the source's own session; returns at the PUBACK."""
        if not topic or "+" in topic or "#" in topic:
            raise SourceError(f"{topic!r} is no topic to publish to", hint="name one without + and #")
        try:
            async with asyncio.timeout(ACKNOWLEDGED_WITHIN):
                await self._session.publish(topic, payload)
        except TimeoutError as error:
            raise SourceError(
                f"{self._options.url} did not acknowledge within {ACKNOWLEDGED_WITHIN:g} s",
                hint=self._session.trouble[1],
            ) from error


def event(source: str, id_: str, arrival: Arrival) -> bytes:
    """The CloudEvent of one message: its topic is subject and ordering key; the payload decides the data's type."""
    extensions: dict[str, str | int | bool] = {"subject": arrival.topic, "partitionkey": arrival.topic}
    if arrival.retained:
        extensions["mqttretained"] = True
    return encode(
        id=id_,
        source=source,
        type=EVENT_TYPE,
        body=arrival.payload,
        content_type=arrival.content_type or None,
        extensions=extensions,
    )
