"""An MQTT broker in front of a bus: each publish is acknowledged by its PUBACK."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Mapping

from api.meta import Key
from eventbus.errors import BusError, Refused
from eventbus.fronted.front import Outgoing
from eventbus.mqtt.address import read_address
from eventbus.mqtt.link import Link
from eventbus.mqtt.topics import filter_of, matches, topic_of
from eventbus.mqtt.wire import FIVE

WILDCARDS = frozenset("+#")
TRUE = frozenset({"true", "1", "yes", "y", "on", "t"})


class MqttFront:
    """See eventbus.fronted.front.Front. Options: url, user, password, tls, caCert, clientCert, clientKey; of a Dapr
    component, whose topics are MQTT's own, wildcards included, retain too."""

    bounded = True
    """Brokers keep a bounded queue for a session, and drop the rest in silence."""

    def __init__(self, key: Key, options: Mapping[str, str]) -> None:
        self._key = key
        self._address = read_address(options)
        self._link = Link(self._address, f"evoke-{uuid.uuid4().hex[:16]}", clean=True)
        self._dapr = options.get("dapr") == "true"
        self._retain = self._dapr and options.get("retain", "") == "true"
        self._running: asyncio.Task[None] | None = None

    @property
    def names(self) -> bool:
        return self._link.version == FIVE

    @property
    def where(self) -> str:
        return f"mqtt at {self._address}"

    @property
    def connected(self) -> bool:
        return self._link.connected

    @property
    def trouble(self) -> BusError | None:
        return self._link.trouble

    def start(self) -> None:
        self._running = asyncio.get_running_loop().create_task(self._link.run(), name=f"mqtt of {self._key}")

    def wide(self, subscribed: str) -> bool:
        return self._dapr and (filter_of(subscribed) != subscribed or bool(WILDCARDS & set(subscribed)))

    def matches(self, subscribed: str, subject: str) -> bool:
        return matches(filter_of(subscribed), subject) if self._dapr else subscribed == subject

    def submit(self, subject: str, message: Outgoing, within: float) -> Awaitable[None]:
        topic = subject if self._dapr else topic_of(subject)
        if self._dapr and WILDCARDS & set(topic):
            raise Refused(f"topic {topic} has wildcards, which only a subscription may have")
        number = self._link.submit(
            topic,
            message.payload,
            message.content_type,
            retain=self._retained(message),
            name="" if message.content_type else message.id,
        )
        return self._link.acknowledged(number, within)

    def _retained(self, message: Outgoing) -> bool:
        if not self._dapr:
            return False
        said = next((value for name, value in message.metadata.items() if name.lower() == "retain" and value), "")
        return said.lower() in TRUE if said else self._retain

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
