"""MQTT in: one owned session, published to the bus before it is acknowledged.

The session has a fixed client id and outlives connections, so what was not acknowledged comes again. Messages of one
MQTT topic reach the bus in arrival order, one at a time; PUBACKs go out in receive order, as the protocol demands
(MQTT 5, 4.6.0-2), and only for the connection on which the message came. What is redelivered after a broken connection
may be on the bus twice, unless it is a CloudEvent: other MQTT messages have no identity by which to absorb it.

QoS 2 is received as QoS 1: the exchange of QoS 2 would make the broker forget a message that only our memory holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime

from api.frames import SourceReading
from api.model import Source
from eventbus.cloudevents import Malformed, Spoofed
from eventbus.errors import BusError, TooLarge
from eventbus.mqtt_address import BadAddress, client_id, read_address
from eventbus.mqtt_link import Link, Subscription
from eventbus.mqtt_message import Message
from eventbus.mqtt_topics import matches
from triggers.sources.mqtt_events import Properties, convert, unfit
from triggers.sources.source import BadSource, Publish, SourceError, uri

SATURATED_AFTER = 5.0
"""Seconds that the oldest message may wait for the bus before the source counts as saturated."""
MAX_HELD = 4096
"""Messages held at most; beyond it those of QoS 0, which nobody can hold back, are dropped and counted."""
REMEMBERED = 1024
ACKNOWLEDGED_WITHIN = 9.0
RETRY_FIRST, RETRY_CAP = 0.1, 5.0
TELL_EVERY = 3600.0
"""Seconds between two calls of *subscribed*, a small part of what a broker keeps a session for."""

log = logging.getLogger(__name__)


class _Held:
    __slots__ = ("at", "done", "generation", "id", "message", "topic")

    def __init__(self, topic: str, message: Message, generation: int, id_: str) -> None:
        self.topic, self.message, self.generation, self.id = topic, message, generation, id_
        self.at = time.monotonic()
        self.done = False


class _Seen:
    """What a packet id of this connection stood for last."""

    __slots__ = ("acknowledged", "fingerprint")

    def __init__(self, fingerprint: int) -> None:
        self.fingerprint, self.acknowledged = fingerprint, False


class MqttSource:
    """Options: url, topic, qos, consumerID, cleanSession, retain, user, password, tls, caCert, clientCert, clientKey;
    ``bridge`` marks the way from the broker of an MQTT event bus into its store."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        self._key = source.key
        self._bridge = options.get("bridge") == "true"
        self._topic, qos = _subscription(source, options)
        self._uri = f"mqtt://{source.bus.name}/{self._topic}" if self._bridge else uri(source, "mqtt")
        self._retained = options.get("retain", "").lower() != "false"
        try:
            address = read_address(options)
        except BadAddress as error:
            raise BadSource(f"event source {source.key}: {error}", hint=error.hint) from error
        self._link = Link(
            address,
            options.get("consumerID") or client_id(source.key),
            clean=options.get("cleanSession", "").lower() == "true",
            version=int(options.get("version", "0")),
            subscription=Subscription(self._topic, qos),
            on_up=self._connected,
            on_message=self._arrived,
        )
        self.subscribed: Callable[[], Awaitable[None]] | None = None
        """Called when the broker keeps messages for us."""
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
        telling = asyncio.get_running_loop().create_task(self._tell())
        try:
            await self._link.run()
        finally:
            for task in (telling, *self._workers):
                task.cancel()
            self._held.clear()
            self._lanes.clear()

    async def _tell(self) -> None:
        """Call *subscribed* once the first subscription stands, and again while it does."""
        while self.subscribed is not None:
            wait = RETRY_FIRST
            if self._link.connected:
                with contextlib.suppress(BusError):
                    await self.subscribed()
                    wait = TELL_EVERY
            await asyncio.sleep(wait)

    def _connected(self, session_present: bool) -> None:
        self._generation += 1
        self._recent.clear()
        if session_present:
            self._forget_unstarted()

    def _forget_unstarted(self) -> None:
        """The broker sends again what was not acknowledged; what waits here would only double it."""
        for lane in self._lanes.values():
            for held in list(lane)[1:]:
                if held.message.qos > 0 and held.generation != self._generation:
                    lane.remove(held)
                    held.done = True

    def _arrived(self, message: Message) -> None:
        topic = message.topic
        if why := unfit(topic):
            self._refuse(why)
        if topic is None or why or (message.retained and not self._retained) or not self._wanted(topic):
            self._acknowledge_unread(message)
            return
        if self._resent(topic, message):
            return
        self._received += 1
        if message.qos == 0 and len(self._held) >= MAX_HELD:
            self._dropped += 1
            return
        self._count += 1
        held = _Held(topic, message, self._generation, f"{self._boot}-{self._count}")
        self._held.append(held)
        if message.qos > 0:
            self._remember(topic, message)
        lane = self._lanes.setdefault(topic, deque())
        lane.append(held)
        if len(lane) == 1:
            worker = asyncio.get_running_loop().create_task(self._drain(topic, lane))
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    def _wanted(self, topic: str) -> bool:
        """A session may still have the filter from before its source was edited."""
        return matches(self._topic, topic)

    def _acknowledge_unread(self, message: Message) -> None:
        """Acknowledge what no event is made of, in its turn."""
        held = _Held("", message, self._generation, "")
        held.done = True
        self._held.append(held)
        self._acknowledge()

    def _resent(self, topic: str, message: Message) -> bool:
        """Whether a broker that does not wait for our PUBACK (nats-server) sent what we hold or just acknowledged."""
        seen = self._recent.get(message.mid) if message.qos > 0 and message.again else None
        if seen is None or seen.fingerprint != hash((topic, message.payload)):
            return False
        if seen.acknowledged:
            self._link.acknowledge(message.mid, message.qos)
        return True

    def _remember(self, topic: str, message: Message) -> None:
        self._recent.pop(message.mid, None)
        self._recent[message.mid] = _Seen(hash((topic, message.payload)))
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
        message = held.message
        said = Properties(message.content_type, message.properties, message.expires, message.retained)
        event = convert(
            held.topic,
            message.payload,
            said,
            source=self._uri,
            id=held.id,
            now=datetime.now(UTC),
            trusted=self._bridge,
        )
        wait = RETRY_FIRST
        while True:
            try:
                await self._publish(event.payload, key=event.key, dedupe=event.dedupe)
            except (TooLarge, Malformed, Spoofed) as error:
                self._refuse(str(error))
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

    def _refuse(self, why: str) -> None:
        self._dropped += 1
        self._trouble = f"a message was refused: {why}"
        log.warning("%s: %s", self._key, self._trouble)

    def _acknowledge(self) -> None:
        while self._held and self._held[0].done:
            held = self._held.popleft()
            if held.generation != self._generation:
                continue  # its packet id means another message now
            self._link.acknowledge(held.message.mid, held.message.qos)
            if seen := self._recent.get(held.message.mid):
                seen.acknowledged = True

    def state(self) -> SourceReading:
        trouble = self._link.trouble
        reason, message = (trouble.reason, str(trouble)) if trouble else ("", "")
        if not reason and self._saturated:
            reason, message = "SourceSaturated", self._trouble or f"{len(self._held)} messages wait for the bus"
        return SourceReading(
            source=self._key,
            connected=self._link.connected,
            received=self._received,
            published=self._published,
            reason=reason,
            message=message or (f"{self._dropped} messages were dropped; {self._trouble}" if self._dropped else ""),
        )

    @property
    def _saturated(self) -> bool:
        """The oldest message waits too long, or the receive window stays full."""
        return bool(self._held) and time.monotonic() - self._held[0].at > SATURATED_AFTER

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 through the source's own session; returns at the PUBACK."""
        if not topic or "+" in topic or "#" in topic:
            raise SourceError(f"{topic!r} is no topic to publish to", hint="name one without + and #")
        try:
            await self._link.publish(topic, payload, within=ACKNOWLEDGED_WITHIN)
        except BusError as error:
            raise SourceError(str(error), hint=error.hint) from error


def _subscription(source: Source, options: Mapping[str, str]) -> tuple[str, int]:
    """Topic filter and QoS; raises BadSource."""
    topic, qos = options.get("topic", ""), options.get("qos") or "1"
    if not topic:
        raise BadSource(f"event source {source.key} needs a topic")
    if qos not in {"0", "1", "2"}:
        raise BadSource(f"event source {source.key}: qos is {qos!r}, expected 0, 1 or 2")
    return topic, min(int(qos), 1)
