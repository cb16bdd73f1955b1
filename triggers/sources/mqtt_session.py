"""One MQTT session over paho: connects for ever, hands arrivals to the event loop, acknowledges by hand.

paho runs its own thread; everything it calls crosses to the loop at once, in order, and decides nothing there.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Coroutine
from contextlib import suppress
from typing import Any

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from eventbus.embedded import MQTT_PENDING
from eventbus.errors import BusError
from eventbus.nats import Connection
from triggers.sources.mqtt_options import SessionOptions, tls
from triggers.sources.nats_session import NatsSession
from triggers.sources.source import SourceError

KEEPALIVE = 20
"""Seconds."""
SESSION_EXPIRY = 24 * 3600
RECEIVE_MAXIMUM = 256
ANSWERED_WITHIN = 5.0
"""Seconds for what is asked of a nats-server besides MQTT."""
log = logging.getLogger(__name__)

REFUSED_LOGIN = frozenset({"Bad user name or password", "Not authorized", "Bad authentication method"})


class Connected(msgspec.Struct, frozen=True):
    """A connection began; what came on an earlier one cannot be acknowledged any more."""

    generation: int
    session_present: bool
    rewound: bool = False
    """What comes for the first time on this connection is not flagged as sent again, whatever came before it."""


class Arrival(msgspec.Struct, frozen=True):
    """One message."""

    generation: int
    mid: int
    topic: str
    payload: bytes
    qos: int
    retained: bool
    again: bool = False
    """Flagged as sent before."""
    content_type: str = ""


class Session:
    """Connects when run() is entered, and again after every break with a growing pause."""

    def __init__(self, options: SessionOptions) -> None:
        self._options = options
        self._queue: asyncio.Queue[Connected | Arrival] = asyncio.Queue()
        self._publishing: dict[int, asyncio.Future[None]] = {}
        self._generation = 0
        self._subscribed = False
        self._running = False
        self.connected = False
        """The broker took connection and subscription."""
        self.trouble: tuple[str, str] = ("Unreachable", f"{options.url} has not answered yet")
        """Reason and message while not connected; empty ones while all is well."""
        self._client = self._make()
        self._kept: NatsSession | None = None
        """What the broker keeps for this session, if it is a nats-server that we may ask."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._taking = 0
        """The generation whose messages are taken: those before a rewind come once more."""

    def _make(self) -> paho.Client:
        options = self._options
        five = options.version == 5
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            clean_session=None if five else options.clean,
            manual_ack=True,
        )
        if options.user is not None:
            client.username_pw_set(options.user, options.password)
        if options.secure:
            client.tls_set_context(tls(options))
        client.connect_timeout = 5.0
        client.reconnect_delay_set(min_delay=1, max_delay=30)
        client.max_inflight_messages_set(100)
        return client

    async def run(self) -> AsyncIterator[Connected | Arrival]:
        """Everything that happens on the session, in order."""
        loop = asyncio.get_running_loop()

        def cross(method: Any) -> Any:
            def call(_client: object, _userdata: object, *arguments: Any) -> None:
                if self._running:
                    loop.call_soon_threadsafe(method, *arguments)

            return call

        client = self._client
        options = self._options
        if options.nats:
            login = Connection(f"nats://{options.nats}", user=options.nats_user, password=options.nats_password)
            self._kept = kept = NatsSession(login, options.client_id)

            def hold(_client: object, _userdata: object) -> None:
                try:
                    asyncio.run_coroutine_threadsafe(kept.hold(), loop).result(ANSWERED_WITHIN)
                except (BusError, TimeoutError) as error:
                    raise ConnectionError(str(error)) from error  # no connection then; paho tries again

            client.on_pre_connect = hold
        client.on_connect = cross(self._on_connect)
        client.on_connect_fail = cross(self._on_connect_fail)
        client.on_disconnect = cross(self._on_disconnect)
        client.on_subscribe = cross(self._on_subscribe)
        client.on_publish = cross(self._on_publish)
        client.on_message = cross(self._on_message)
        self._running = True
        if self._options.version == 5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
            properties.SessionExpiryInterval = SESSION_EXPIRY
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            client.connect_async(
                self._options.host,
                self._options.port,
                KEEPALIVE,
                clean_start=self._options.clean,
                properties=properties,
            )
        else:
            client.connect_async(self._options.host, self._options.port, KEEPALIVE)
        client.loop_start()
        while True:
            yield await self._queue.get()

    def _on_connect(self, flags: Any, reason: ReasonCode, _properties: object) -> None:
        if reason.is_failure:
            login = "AuthFailed" if str(reason) in REFUSED_LOGIN else "Unreachable"
            hint = "; check username and password of the event source" if login == "AuthFailed" else ""
            self.trouble = (login, f"{self._options.url} refused the connection: {reason}{hint}")
            return
        self._generation += 1
        if self._kept is not None and flags.session_present:
            self._spawn(self._rewind(self._kept, self._generation))
        else:
            self._begin(flags.session_present)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _rewind(self, kept: NatsSession, generation: int) -> None:
        """Begin at what was acknowledged last; without that the connection is of no use."""
        try:
            async with asyncio.timeout(ANSWERED_WITHIN):
                await kept.rewind()
        except (BusError, TimeoutError) as error:
            self.trouble = ("Unreachable", f"{self._options.url}: {error}")
            if generation == self._generation:
                self._break()
            return
        if generation == self._generation:
            self._begin(session_present=True)

    def _break(self) -> None:
        """End the connection as a network does; paho connects again."""
        wire = self._client.socket()
        if isinstance(wire, socket.socket):
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    def _begin(self, session_present: bool) -> None:
        self._taking = self._generation
        self._queue.put_nowait(Connected(self._generation, session_present, rewound=self._kept is not None))
        if session_present and self._subscribed:
            self._well()  # subscribing again would only make the broker send its retained messages again
            return
        result, _ = self._client.subscribe(self._options.topic, self._options.qos)
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS:
            self.trouble = ("Unreachable", f"{self._options.url}: the subscription could not be sent")

    def _on_subscribe(self, _mid: int, reasons: list[ReasonCode], _properties: object) -> None:
        if any(reason.is_failure for reason in reasons):
            self.trouble = ("AuthFailed", f"{self._options.url} refused the subscription to {self._options.topic}")
            return
        self._subscribed = True
        self._well()
        if self._kept is not None:
            self._spawn(self._share(self._kept))

    async def _share(self, kept: NatsSession) -> None:
        try:
            await kept.share(MQTT_PENDING)
        except BusError as error:
            log.warning("%s: %s", self._options.url, error)
            self._break()

    def _well(self) -> None:
        self.connected, self.trouble = True, ("", "")

    def _on_connect_fail(self) -> None:
        self.trouble = ("Unreachable", f"{self._options.url} does not answer")

    def _on_disconnect(self, _flags: object, reason: ReasonCode, _properties: object) -> None:
        self.connected = False
        if self.trouble[0] in {"", "Unreachable"}:
            self.trouble = ("Unreachable", f"{self._options.url} ended the connection: {reason}")

    def _on_message(self, message: paho.MQTTMessage) -> None:
        if self._taking != self._generation:
            return
        content_type = getattr(message.properties, "ContentType", "") if message.properties else ""
        arrival = Arrival(
            generation=self._generation,
            mid=message.mid,
            topic=message.topic,
            payload=bytes(message.payload),
            qos=message.qos,
            retained=message.retain,
            again=message.dup,
            content_type=content_type,
        )
        self._queue.put_nowait(arrival)

    def acknowledge(self, arrival: Arrival) -> None:
        """Send the PUBACK, unless the message came on an earlier connection: its id means another message now."""
        if arrival.qos > 0 and arrival.generation == self._generation:
            self._client.ack(arrival.mid, arrival.qos)

    async def publish(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, return at the PUBACK; waits while there is no connection."""
        info = self._client.publish(topic, payload, qos=1)
        if info.rc not in {MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_NO_CONN}:
            raise SourceError(f"{self._options.url} does not take the message: {paho.error_string(info.rc)}")
        waiting = self._publishing.setdefault(info.mid, asyncio.get_running_loop().create_future())
        try:
            await waiting
        finally:
            self._publishing.pop(info.mid, None)

    def _on_publish(self, mid: int, reason: ReasonCode, _properties: object) -> None:
        waiting = self._publishing.get(mid)
        if waiting is None or waiting.done():
            return
        if reason.is_failure:
            waiting.set_exception(SourceError(f"{self._options.url} refused the message: {reason}"))
        else:
            waiting.set_result(None)

    async def stop(self) -> None:
        """End connection and thread; the session stays at the broker."""
        self._running = False
        self.connected = False
        self._client.disconnect()
        for task in self._tasks:
            task.cancel()
        await asyncio.to_thread(self._client.loop_stop)
        if self._kept is not None:
            await self._kept.close()
