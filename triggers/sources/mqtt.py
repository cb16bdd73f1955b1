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
import uuid
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from functools import partial

from api.frames import SourceReading
from api.model import Source
from eventbus.mqtt.address import BadAddress, client_id, read_address
from eventbus.mqtt.link import Link, Subscription
from eventbus.mqtt.message import Message
from eventbus.mqtt.topics import matches
from eventbus.mqtt.wire import FIVE
from triggers.sources.lanes import Lanes, Waiting
from triggers.sources.manners import manner
from triggers.sources.mqtt_client import Seen, reading, send
from triggers.sources.mqtt_events import Properties, mqtt_event, unfit
from triggers.sources.source import BadSource, Publish
from triggers.sources.standing import tell
from triggers.sources.storing import Brought

REMEMBERED = 8192
"""Packet ids of a connection."""


class _Held:
    __slots__ = ("done", "generation", "message", "waiting")

    def __init__(self, message: Message, generation: int) -> None:
        self.message, self.generation = message, generation
        self.waiting: Waiting | None = None
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
        self._topic, qos = _subscription(source, options)
        self._manner = manner(source, "mqtt", self._topic)
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
        self._unacknowledged: dict[int, _Held] = {}
        """By packet id, of the connection before."""
        self._lanes: Lanes | None = None
        self._generation = self._received = self._dropped = 0

    async def run(self, publish: Publish) -> None:
        self._lanes = Lanes(self._key, self._manner.uri, publish)
        telling = asyncio.get_running_loop().create_task(tell(lambda: self._link.connected, lambda: self.subscribed))
        try:
            await self._link.run()
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
            await self._lanes.stop()
            self._held.clear()

    def _connected(self, session_present: bool) -> None:
        """The broker sends again what was not acknowledged, and under MQTT 5 as we know it; what waits here would
        double it."""
        self._generation += 1
        self._recent.clear()
        self._unacknowledged = {}
        if not session_present:
            return
        held = [one for one in self._held if one.message.qos > 0]
        if self._link.version == FIVE:
            self._unacknowledged = {one.message.mid: one for one in held}
            return
        for one in held:
            if one.waiting is not None:
                one.waiting.withdraw()

    def _known(self, message: Message) -> bool:
        """Whether the connection before brought it and it was not acknowledged: its packet id is still its own (MQTT 5,
        4.4). That is not so of nats-server, which speaks 3.1.1 only."""
        held = self._unacknowledged.pop(message.mid, None) if message.qos > 0 and message.again else None
        if held is None or (held.message.topic, held.message.payload) != (message.topic, message.payload):
            return False
        with contextlib.suppress(ValueError):  # it was on the bus before it came again
            self._held.remove(held)
        held.generation = self._generation
        self._held.append(held)  # in the order of this connection
        self._remember(message)
        self._acknowledge()
        return True

    def _arrived(self, message: Message) -> None:
        lanes, topic = self._lanes, message.topic
        assert lanes is not None
        if topic is not None and not self._wanted(topic, message):
            self._hold(message).done = True
            self._acknowledge()
            return
        if self._known(message) or self._resent(message):
            return
        self._received += 1
        if message.qos == 0 and lanes.full:
            self._dropped += 1
            return
        held = self._hold(message)
        if message.qos > 0:
            self._remember(message)
        done = partial(self._stored, held)
        self._count += 1
        id_ = f"{self._boot}-{self._count}"
        why = unfit(topic)
        if topic is None or why:
            held.waiting = lanes.reject(id_, why, done)
        else:
            held.waiting = lanes.put(topic, self._event(topic, message, id_), done)

    def _hold(self, message: Message) -> _Held:
        held = _Held(message, self._generation)
        self._held.append(held)
        return held

    def _event(self, topic: str, message: Message, id_: str) -> Brought:
        said = Properties(message.content_type, message.properties, message.expires, message.retained)
        return mqtt_event(self._manner, topic, message.payload, said, id_, datetime.now(UTC))

    def _wanted(self, topic: str, message: Message) -> bool:
        """A session may still have the filter from before its source was edited."""
        return matches(self._topic, topic) and (self._retained or not message.retained)

    def _resent(self, message: Message) -> bool:
        """Whether a broker that does not wait for our PUBACK (nats-server) sent what we hold or just acknowledged."""
        seen = self._recent.get(message.mid) if message.qos > 0 and message.again else None
        if seen is None or seen.fingerprint != hash((message.topic, message.payload)):
            return False
        if seen.acknowledged:
            self._link.acknowledge(message.mid, message.qos)
        return True

    def _remember(self, message: Message) -> None:
        self._recent.pop(message.mid, None)
        self._recent[message.mid] = _Seen(hash((message.topic, message.payload)))
        if len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def _stored(self, held: _Held) -> None:
        held.done = True
        self._acknowledge()

    def _acknowledge(self) -> None:
        while self._held and self._held[0].done:
            held = self._held.popleft()
            if held.generation != self._generation:
                continue  # its packet id means another message now
            self._link.acknowledge(held.message.mid, held.message.qos)
            if seen := self._recent.get(held.message.mid):
                seen.acknowledged = True

    def state(self) -> SourceReading:
        seen = Seen(self._key, self._link.connected, self._received, self._dropped)
        return reading(seen, self._link.trouble, self._lanes)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 through the source's own session; returns at the PUBACK."""
        await send(self._link, topic, payload)


def _subscription(source: Source, options: Mapping[str, str]) -> tuple[str, int]:
    """Topic filter and QoS; raises BadSource."""
    topic, qos = options.get("topic", ""), options.get("qos") or "1"
    if not topic:
        raise BadSource(f"event source {source.key} needs a topic")
    if qos not in {"0", "1", "2"}:
        raise BadSource(f"event source {source.key}: qos is {qos!r}, expected 0, 1 or 2")
    return topic, min(int(qos), 1)
