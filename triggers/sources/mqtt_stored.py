"""MQTT in from the embedded broker: read from its own stream, not through a session.

nats-server keeps messages of QoS 1 and 2 in a stream as long as a consumer waits for them. A session of its MQTT side
would get them again after ``ack_wait`` whether or not we still hold them, and one message could become two events; a
consumer of ours is acknowledged after the bus, goes on in order after a crash, and gives each message an identity by
which the bus absorbs what comes again. Messages of QoS 0 are in no stream: they are heard while connected.

Names of streams, subjects and headers: nats-server's server/mqtt.go.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial

from api.frames import SourceReading
from api.model import Source
from eventbus.jetstream.api import NO_STREAM, ApiError, JetStream
from eventbus.jetstream.connection import Message
from eventbus.mqtt.address import BadAddress, client_id, read_address
from eventbus.mqtt.link import Link
from eventbus.mqtt.topics import from_nats, matches, nats_filters
from eventbus.mqtt.wire import SESSION_EXPIRY, THREE, Wire
from eventbus.subjects import token
from triggers.sources.lanes import Done, Lanes
from triggers.sources.manners import manner
from triggers.sources.mqtt_client import Seen, reading, send
from triggers.sources.mqtt_events import Properties, mqtt_event, unfit
from triggers.sources.nats_feed import Feed
from triggers.sources.nats_stream import Place, Stored
from triggers.sources.source import BadSource, Publish

STREAM, STORED = "$MQTT_msgs", "$MQTT.msgs."
RETAINED_STREAM, RETAINED = "$MQTT_rmsgs", "$MQTT.rmsgs."
QOS = "Nmqtt-Pub"
"""Header with the QoS with which a message was published."""
STORE = "store."
"""Options that begin so say how to reach the broker as a NATS server."""


class StoredMqttSource:
    """Options: topic, retain, consumerID, url (of the MQTT listener), store.url, store.user, store.password."""

    def __init__(self, source: Source, options: Mapping[str, str]) -> None:
        self._key = source.key
        self._topic = options.get("topic", "")
        self._manner = manner(source, "mqtt", self._topic)
        if not self._topic:
            raise BadSource(f"event source {source.key} needs a topic")
        try:
            self._address = read_address(options)
        except BadAddress as error:
            raise BadSource(f"event source {source.key}: {error}", hint=error.hint) from error
        self._session = options.get("consumerID") or client_id(source.key)
        self._link = Link(self._address, f"evoke-{uuid.uuid4().hex[:16]}", clean=True, version=THREE)
        filters = nats_filters(self._topic)
        store = {name.removeprefix(STORE): value for name, value in options.items() if name.startswith(STORE)}
        self._feed = Feed(
            lambda: store,
            f"evoke {source.key}",
            place=Place(
                stream=STREAM,
                filters=tuple(STORED + one for one in filters),
                name=token(f"evoke-{self._session}"),
                forget_after=float(SESSION_EXPIRY),
                first=options.get("retain", "").lower() != "false",
            ),
            arrived=self._arrived,
            subjects=filters,
            passed=self._passed,
            prepare=self._prepare,
            first=self._retained,
        )
        self._filters = filters
        self._prepared = False
        self._lanes: Lanes | None = None
        self._boot, self._received, self._dropped = uuid.uuid4().hex[:12], 0, 0

    async def run(self, publish: Publish) -> None:
        self._lanes = Lanes(self._key, self._manner.uri, publish)
        linked = asyncio.get_running_loop().create_task(self._link.run())
        try:
            await self._feed.run()
        finally:
            linked.cancel()
            await asyncio.gather(linked, return_exceptions=True)
            await self._lanes.stop()

    async def _prepare(self, _js: JetStream) -> None:
        """Be an MQTT client for a moment: with the first one the streams come, and the session that an earlier release
        had, for which the broker would keep everything, ends."""
        if self._prepared:
            return
        wire = Wire(
            self._address, self._session, version=THREE, clean=True, on_up=lambda _: None, on_message=lambda _: None
        )
        try:
            await wire.connect()
        finally:
            wire.close()
        self._prepared = True

    async def _retained(self, js: JetStream) -> None:
        """What was retained when the source was made, once; returns when the bus has it."""
        waiting: list[asyncio.Event] = []
        for filter_ in self._filters:
            try:
                found = (await js.stream_info(RETAINED_STREAM, RETAINED + filter_)).state.subjects
            except ApiError as error:
                if error.number != NO_STREAM:
                    raise
                continue
            for subject in sorted(found):
                kept = await js.last(RETAINED_STREAM, subject)
                if kept is not None and kept.data:
                    waiting.append(taken := asyncio.Event())
                    topic = from_nats(subject.removeprefix(RETAINED))
                    self._put(topic, kept.data, f"retained-{kept.seq}", datetime.now(UTC), taken.set, retained=True)
        for taken in waiting:
            await taken.wait()

    def _arrived(self, stored: Stored) -> None:
        """QoS 1 and 2, from the stream."""
        at = datetime.fromtimestamp(stored.nanoseconds / 1e9, UTC)
        topic = from_nats(stored.subject.removeprefix(STORED))
        self._put(topic, stored.data, stored.id, at, partial(self._feed.acknowledge, stored))

    def _passed(self, message: Message) -> None:
        """QoS 0; the others go by here too, on their way into the stream."""
        if (message.headers or {}).get(QOS) != "0":
            return
        if self._lanes is not None and self._lanes.full:
            self._dropped += 1
            return
        id_ = f"{self._boot}-{self._received}"
        self._put(from_nats(message.subject), message.data, id_, datetime.now(UTC), lambda: None)

    def _put(self, topic: str, data: bytes, id_: str, at: datetime, done: Done, *, retained: bool = False) -> None:
        lanes = self._lanes
        assert lanes is not None
        if not matches(self._topic, topic):
            done()
            return
        self._received += 1
        if why := unfit(topic):
            lanes.reject(id_, why, done)
            return
        lanes.put(topic, mqtt_event(self._manner, topic, data, Properties(retained=retained), id_, at), done)

    def state(self) -> SourceReading:
        seen = Seen(self._key, self._feed.connected, self._received, self._dropped)
        return reading(seen, self._feed.trouble, self._lanes)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, as a device does; returns at the PUBACK."""
        await send(self._link, topic, payload)
