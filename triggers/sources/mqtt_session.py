"""One MQTT session over paho: connects for ever, hands arrivals to the event loop, acknowledges by hand.

paho runs its own thread; everything it calls crosses to the loop at once, in order, and decides nothing there.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec
import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from api.meta import Key
from triggers.sources.source import BadSource, SourceError

KEEPALIVE = 20
"""Seconds."""
SESSION_EXPIRY = 24 * 3600
RECEIVE_MAXIMUM = 256
SECURE = frozenset({"ssl", "tls", "mqtts"})
PLAIN = frozenset({"tcp", "mqtt"})
REFUSED_LOGIN = frozenset({"Bad user name or password", "Not authorized", "Bad authentication method"})


class SessionOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to connect, and to what."""

    url: str
    """Without credentials, for messages."""
    host: str
    port: int
    secure: bool
    topic: str
    client_id: str
    user: str | None = None
    password: str | None = None
    qos: int = 1
    clean: bool = False
    retained: bool = True
    """Whether retained messages are wanted."""
    version: int = 4
    """4: MQTT 3.1.1, 5: MQTT 5."""
    ca: str = ""
    certificate: str = ""
    private_key: str = ""


class Connected(msgspec.Struct, frozen=True):
    """A connection began; what came on an earlier one cannot be acknowledged any more."""

    generation: int
    session_present: bool


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


def read_options(key: Key, options: Mapping[str, str]) -> SessionOptions:
    """Read a source's options; user and password stand there or in the url, the options first. Raises BadSource."""
    url, topic = options.get("url", ""), options.get("topic", "")
    if not topic:
        raise BadSource(f"event source {key} needs a topic")
    parts = urlsplit(url if "://" in url else f"mqtt://{url}")
    if not url or not parts.hostname or parts.scheme not in SECURE | PLAIN:
        raise BadSource(f"event source {key}: {url!r} is no MQTT address", hint="write mqtt://host:1883 or mqtts://...")
    secure = parts.scheme in SECURE
    qos = options.get("qos") or "1"
    if qos not in {"0", "1", "2"}:
        raise BadSource(f"event source {key}: qos is {qos!r}, expected 0, 1 or 2")
    port = parts.port or (8883 if secure else 1883)
    return SessionOptions(
        url=f"{parts.scheme}://{parts.hostname}:{port}",
        host=parts.hostname,
        port=port,
        secure=secure,
        topic=topic,
        client_id=options.get("consumerID") or _client_id(key),
        user=options.get("user") or (unquote(parts.username) if parts.username else None),
        password=options.get("password") or (unquote(parts.password) if parts.password else None),
        qos=int(qos),
        clean=options.get("cleanSession", "").lower() == "true",
        retained=options.get("retain", "").lower() != "false",
        version=5 if options.get("version") == "5" else 4,
        ca=options.get("caCert", ""),
        certificate=options.get("clientCert", ""),
        private_key=options.get("clientKey", ""),
    )


def _client_id(key: Key) -> str:
    """Fixed for the source, and short: a 3.1.1 broker need not take more than 23 characters."""
    return f"evoke-{hashlib.sha1(str(key).encode(), usedforsecurity=False).hexdigest()[:17]}"


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
            client.tls_set_context(_tls(options))
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
        self._queue.put_nowait(Connected(self._generation, flags.session_present))
        if flags.session_present and self._subscribed:
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

    def _well(self) -> None:
        self.connected, self.trouble = True, ("", "")

    def _on_connect_fail(self) -> None:
        self.trouble = ("Unreachable", f"{self._options.url} does not answer")

    def _on_disconnect(self, _flags: object, reason: ReasonCode, _properties: object) -> None:
        self.connected = False
        if self.trouble[0] in {"", "Unreachable"}:
            self.trouble = ("Unreachable", f"{self._options.url} ended the connection: {reason}")

    def _on_message(self, message: paho.MQTTMessage) -> None:
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
        await asyncio.to_thread(self._client.loop_stop)


def _tls(options: SessionOptions) -> ssl.SSLContext:
    """Client context; certificates are PEM text, and OpenSSL reads the private key from files only."""
    context = ssl.create_default_context(cadata=options.ca or None)
    if options.certificate:
        with tempfile.TemporaryDirectory() as folder:
            certificate, private_key = Path(folder) / "certificate", Path(folder) / "key"
            certificate.write_text(options.certificate)
            private_key.touch(0o600)
            private_key.write_text(options.private_key)
            context.load_cert_chain(certificate, private_key)
    return context
