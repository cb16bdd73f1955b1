"""The one place that imports paho: one MQTT connection, from CONNECT to its end, driven by the event loop.

paho's own thread is not used: its sockets are watched by the loop, so nothing here runs beside it but the TCP and TLS
handshake. A wire connects once and ends once, and its future `ended` says why; who wants another makes another.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from eventbus.errors import AuthFailed, BusError, NotABroker, Refused, SessionTaken, TooLarge, Unreachable
from eventbus.mqtt.address import Address
from eventbus.mqtt.message import Message, received
from eventbus.mqtt.refusals import Silent, refused_connection, refused_message, translated
from eventbus.tls import client_context

KEEPALIVE = 20
"""Seconds."""
ANSWER_WITHIN = 5.0
"""Seconds for each step of a connect."""
NAME = "evokeid"
"""User property by which the publisher of bytes that are no event knows the event that a bridge makes of them."""
SESSION_EXPIRY = 24 * 3600
RECEIVE_MAXIMUM = 256
MAX_PACKET = 16 << 20
"""Bytes: an MQTT 5 broker does not send larger ones, which no bus would take; 3.1.1 has no such limit."""
CONNACK = b"\x20"
FIVE, THREE = 5, 4
"""Protocol levels of MQTT 5 and 3.1.1."""
PACKETS_AT_ONCE = 32
"""Read before the loop has its turn again."""


class _TlsSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho only forgets it."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:
            self.close()
            raise


class Wire:
    """One connection. *on_up* gets "session present" before any message comes; callbacks must not block."""

    def __init__(
        self,
        address: Address,
        client_id: str,
        *,
        version: int,
        clean: bool,
        on_up: Callable[[bool], None],
        on_message: Callable[[Message], None],
    ) -> None:
        self._address, self._client_id = address, client_id
        self._version, self._clean = version, clean
        self._on_up, self._on_incoming = on_up, on_message
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[None] = self._loop.create_future()
        """Only ever set to an error."""
        self._up: asyncio.Future[bool] = self._loop.create_future()
        self._publishing: dict[int, asyncio.Future[None]] = {}
        self._subscribing: dict[int, asyncio.Future[None]] = {}
        self._socket: Any = None
        self._misc: asyncio.TimerHandle | None = None
        self.window = 100
        """Publishes that may be unacknowledged at once."""
        self.max_packet = 0
        """Bytes that the broker takes; 0: it did not say."""
        self._client = self._make()

    def _make(self) -> paho.Client:
        five = self._version == FIVE
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if five else MQTTProtocolVersion.MQTTv311,
            clean_session=None if five else self._clean,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.username_pw_set(self._address.user, self._address.password)
        if self._address.secure:
            address = self._address
            context = client_context(ca=address.ca, cert=address.certificate, key=address.private_key)
            context.sslsocket_class = _TlsSocket
            client.tls_set_context(context)
        client.connect_timeout = ANSWER_WITHIN
        client.max_inflight_messages_set(0)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message
        client.on_publish = self._published
        client.on_subscribe = self._subscribed
        client.on_socket_close = self._detach
        client.on_socket_register_write = self._write_soon
        client.on_socket_unregister_write = self._written
        return client

    async def connect(self) -> None:
        """Connect and wait for the CONNACK; raises BusError."""
        try:
            await asyncio.to_thread(self._handshake)
            self._attach()
            await asyncio.wait((self._up, self.ended), timeout=ANSWER_WITHIN, return_when=asyncio.FIRST_COMPLETED)
        except (OSError, ValueError) as error:
            raise translated(error, self._address) from error
        if self.ended.done():
            self.ended.result()
        if not self._up.done():
            raise Silent(f"{self._address} took the connection and answers nothing")

    def _handshake(self) -> None:
        if self._version == FIVE:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
            properties.SessionExpiryInterval = 0 if self._clean else SESSION_EXPIRY
            properties.ReceiveMaximum = RECEIVE_MAXIMUM
            properties.MaximumPacketSize = MAX_PACKET
            self._client.connect(
                self._address.host, self._address.port, KEEPALIVE, clean_start=self._clean, properties=properties
            )
        else:
            self._client.connect(self._address.host, self._address.port, KEEPALIVE)

    def _attach(self) -> None:
        """Let the loop watch the socket."""
        self._socket = self._client.socket()
        if self._socket is None:
            raise ConnectionResetError("the connection ended at once")
        self._loop.add_reader(self._socket.fileno(), self._readable)
        if self._client.want_write():
            self._loop.add_writer(self._socket.fileno(), self._client.loop_write)
        self._misc = self._loop.call_later(1.0, self._tick)

    def _detach(self, _client: object, _userdata: object, closing: Any) -> None:
        if self._socket is not None:
            self._loop.remove_reader(closing.fileno())
            self._loop.remove_writer(closing.fileno())
            self._socket = None
        if self._misc is not None:
            self._misc.cancel()
            self._misc = None

    def _write_soon(self, *_: object) -> None:
        if self._socket is not None:
            try:
                self._loop.add_writer(self._socket.fileno(), self._client.loop_write)
            except RuntimeError:
                self._loop.call_soon(self._reset)

    def _reset(self) -> None:
        """End a connection that was reset: uvloop calls the reader once more and then watches the socket no longer,
        however much there was to read before the reset."""
        if self._socket is not None:
            self._end(Unreachable(f"{self._address} ended the connection: it was reset"))
            self.close()

    def _written(self, *_: object) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())

    def _tick(self) -> None:
        """Keep the connection alive."""
        self._misc = self._loop.call_later(1.0, self._tick)
        if self._socket is not None and self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._reset()
        else:
            self._client.loop_misc()

    def _readable(self) -> None:
        if not self._up.done() and not self._address.secure and self._foreign():
            self._end(NotABroker(f"{self._address} is no MQTT broker: it answered something else"))
            self.close()
            return
        for _ in range(PACKETS_AT_ONCE):
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or self._socket is None:
                return
            if not self._address.secure or not self._socket.pending():
                return
        self._loop.call_soon(self._readable)  # TLS has read more than it handed over: no reader event will tell

    def _foreign(self) -> bool:
        """Whether the first byte is none of a CONNACK; paho would take most protocols for packets."""
        try:
            first = self._socket.recv(1, socket.MSG_PEEK)
        except OSError:
            return False
        return first not in {b"", CONNACK}

    def _connected(self, _client: object, _userdata: object, flags: Any, reason: ReasonCode, properties: Any) -> None:
        if self._up.done():
            return
        if reason.is_failure:
            self._end(refused_connection(str(reason), self._address))
            return
        self.window = min(self.window, getattr(properties, "ReceiveMaximum", self.window))
        self.max_packet = getattr(properties, "MaximumPacketSize", 0)
        self._up.set_result(flags.session_present)
        self._on_up(flags.session_present)

    def _disconnected(self, _client: object, _userdata: object, _flags: object, reason: ReasonCode, _: object) -> None:
        if not self._up.done():
            self._end(Silent(f"{self._address} ended the connection before it answered; is it an MQTT broker?"))
        elif str(reason) == "Session taken over":
            self._end(SessionTaken(f"{self._address}: another client connects with client id {self._client_id}"))
        else:
            self._end(Unreachable(f"{self._address} ended the connection: {reason}"))

    def _end(self, error: BusError) -> None:
        if self.ended.done():
            return
        self.ended.set_exception(error)
        self.ended.exception()  # retrieved: whoever waits gets it again, and nobody may be waiting
        for waiting in (*self._publishing.values(), *self._subscribing.values()):
            if not waiting.done():
                waiting.cancel()

    def _message(self, _client: object, _userdata: object, message: paho.MQTTMessage) -> None:
        self._on_incoming(received(message))

    def acknowledge(self, mid: int, qos: int) -> None:
        if qos > 0 and self._socket is not None:
            self._client.ack(mid, qos)

    def subscribe(self, topic: str, qos: int) -> asyncio.Future[None]:
        """Done at the SUBACK, cancelled when the connection ends first; raises AuthFailed when it is refused."""
        result, mid = self._client.subscribe(topic, qos)
        waiting: asyncio.Future[None] = self._loop.create_future()
        if result != MQTTErrorCode.MQTT_ERR_SUCCESS or mid is None:
            waiting.cancel()
        else:
            self._subscribing[mid] = waiting
        return waiting

    def _subscribed(self, _client: object, _userdata: object, mid: int, reasons: list[ReasonCode], _: object) -> None:
        waiting = self._subscribing.pop(mid, None)
        if waiting is None or waiting.done():
            return
        if any(reason.is_failure for reason in reasons):
            waiting.set_exception(AuthFailed(f"{self._address} refused the subscription"))
        else:
            waiting.set_result(None)

    def publish(
        self, topic: str, payload: bytes, content_type: str = "", *, retain: bool = False, name: str = ""
    ) -> asyncio.Future[None]:
        """Send with QoS 1; done at the PUBACK, cancelled when the connection ends first. Raises Refused."""
        if self.max_packet and len(payload) + len(topic) + 256 > self.max_packet:
            raise TooLarge(f"the message has {len(payload)} bytes, {self._address} takes {self.max_packet}")
        properties = None
        if self._version == FIVE and (content_type or name):
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it unannotated
            if content_type:
                properties.ContentType = content_type
            if name:
                properties.UserProperty = (NAME, name)
        waiting: asyncio.Future[None] = self._loop.create_future()
        try:
            info = self._client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        except ValueError as error:
            raise Refused(f"{topic!r} is no topic to publish to: {error}") from error
        if info.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            waiting.cancel()
        else:
            self._publishing[info.mid] = waiting
        return waiting

    def _published(self, _client: object, _userdata: object, mid: int, reason: ReasonCode, _: object) -> None:
        waiting = self._publishing.pop(mid, None)
        if waiting is None or waiting.done():
            return
        if reason.is_failure:
            waiting.set_exception(refused_message(str(reason), self._address))
        else:
            waiting.set_result(None)

    def close(self) -> None:
        """Say goodbye and end the connection; the session stays at the broker."""
        if self._client.socket() is not None:
            self._client.disconnect()
            self._client.loop_write()
        self._end(Unreachable(f"{self._address}: the connection was closed"))
