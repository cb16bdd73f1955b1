"""What nats-server keeps for one MQTT session: durable consumers of the stream of all messages, here held and rewound.

Left alone, nats-server sends new messages first to a client that is back, and what it had not acknowledged only after
its ack_wait. Held from before the connection until they were rewound to what was acknowledged, the consumers bring
everything in the order of the stream, and nothing that comes for the first time is flagged as sent before. Why a
rewind on the living connection: whatever it was sent by then, or another client of the same id before it, comes again.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from eventbus.jetstream import NO_CONSUMER, NO_STREAM, ApiError, JetStream
from eventbus.nats import Connection

STREAM = "$MQTT_msgs"
HOLD = timedelta(seconds=10)
"""A session whose client died while it was held goes on after that."""
SHORT = timedelta(milliseconds=5)
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class _Names(msgspec.Struct):
    total: int = 0
    consumers: list[str] | None = None


class _Paused(msgspec.Struct):
    paused: bool = False


class _Info(msgspec.Struct):
    config: dict[str, Any]


def prefix(client_id: str) -> str:
    """How the names of a session's consumers begin: server/mqtt.go hashes the client id to eight digits of base 62."""
    digest = hashlib.sha256(client_id.encode()).digest()
    return "".join(DIGITS[byte % len(DIGITS)] for byte in digest[:8]) + "_"


class NatsSession:
    """Every call raises BusError."""

    def __init__(self, connection: Connection, client_id: str) -> None:
        self._connection, self._prefix = connection, prefix(client_id)
        self._js = JetStream(connection)
        self._began = False

    async def hold(self) -> None:
        """Let the session's consumers deliver nothing until rewind(), or until HOLD is over."""
        if not self._began:
            await self._connection.connect()
            self._began = True
        for name in await self._consumers():
            await self._pause(name, HOLD)

    async def rewind(self) -> None:
        """Have everything delivered that was not acknowledged, as if for the first time, and let it come."""
        names = await self._consumers()
        for name in names:
            await self._call("RESET", name)
        for name in names:
            left = SHORT
            while not await self._pause(name, left):
                left *= 2

    async def share(self, pending: int) -> None:
        """Let the consumers have no more unacknowledged messages in all than the session may: nats-server drops what
        goes beyond, and brings it back after its ack_wait, behind later messages. A filter that ends in # has two."""
        names = await self._consumers()
        for name in names:
            config = msgspec.json.decode(await self._js.call(f"CONSUMER.INFO.{STREAM}.{name}"), type=_Info).config
            if config.get("max_ack_pending", pending) > pending // len(names):
                config["max_ack_pending"] = pending // len(names)
                body = {"stream_name": STREAM, "config": config, "action": "update"}
                await self._js.call(f"CONSUMER.DURABLE.CREATE.{STREAM}.{name}", body)

    async def close(self) -> None:
        if self._began:
            await self._connection.close()

    async def _pause(self, name: str, left: timedelta) -> bool:
        """Whether the consumer delivers again at that time by itself; one that is told to at once waits for the next
        message, and so does one whose time was over when it was told."""
        until = (datetime.now(UTC) + left).isoformat()
        return (await self._call("PAUSE", name, {"pause_until": until})).paused

    async def _call(self, verb: str, name: str, body: dict[str, Any] | None = None) -> _Paused:
        try:
            reply = await self._js.call(f"CONSUMER.{verb}.{STREAM}.{name}", body)
        except ApiError as error:
            if error.number in {NO_CONSUMER, NO_STREAM}:  # the session ended meanwhile
                return _Paused(paused=True)
            raise
        return msgspec.json.decode(reply, type=_Paused)

    async def _consumers(self) -> list[str]:
        found: list[str] = []
        seen, total = 0, 1
        while seen < total:
            try:
                reply = await self._js.call(f"CONSUMER.NAMES.{STREAM}", {"offset": seen})
            except ApiError as error:
                if error.number == NO_STREAM:  # no MQTT client was ever there
                    return []
                raise
            page = msgspec.json.decode(reply, type=_Names)
            names = page.consumers or []
            found += [name for name in names if name.startswith(self._prefix)]
            seen, total = seen + len(names), page.total if names else 0
        return found
