"""``bindings.mqtt3``: messages of an MQTT broker, as bytes; published here, brought by an event source."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, ClassVar

from api.meta import Key
from api.model import Component, Source
from eventbus.errors import BusError, Refused, TooLarge
from eventbus.mqtt.address import Address, read_address
from eventbus.mqtt.topics import filter_of
from proxy.components.declaration import Declared
from proxy.components.input_bindings import bound
from proxy.components.options import text
from proxy.components.protocols import Answer, ComponentError, ComponentFailed, MetadataIllegal, TooMuch
from proxy.components.pubsub_mqtt3 import MqttMetadata, broker
from proxy.components.surroundings import Surroundings

if TYPE_CHECKING:
    from eventbus.mqtt.link import Link

WITHIN = 9.0
"""Seconds until a publish that is not acknowledged fails."""
LONGEST = 65535
"""Bytes of a topic's name (MQTT 3.1.1, section 1.5.3)."""
_TRUE = frozenset({"y", "yes", "true", "t", "on", "1"})


class Metadata(MqttMetadata, frozen=True, kw_only=True):
    """Publishes with QoS 1 and waits for the broker; metadata of a request: ``topic``, ``retain``."""

    NOTED: ClassVar[Mapping[str, str]] = MqttMetadata.NOTED

    topic: str
    """Topic that an app gets messages of, wildcards included, and that it publishes on."""
    direction: str = ""
    """``input``, ``output``, or ``input, output``; an app is not asked whether it takes the messages."""
    route: str = ""
    """Path of the app that takes the messages; empty: the component's name."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        if not self.topic or "\0" in self.topic or len(self.topic.encode()) > LONGEST:
            yield "topic", "it is no topic of MQTT"
        try:
            read_address({"url": self.url})
        except BusError as error:
            yield "url", f"{error.hint or 'write mqtt://host:1883'}"


class MqttBinding:
    def __init__(self, address: Address, topic: str, *, retain: bool) -> None:
        self._address, self._topic, self._retain = address, topic, retain
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def trouble(self) -> ComponentFailed | None:
        error = self._link.trouble if self._link is not None else None
        return ComponentFailed(str(error), reason=error.reason) if error is not None else None

    async def open(self) -> str:
        from eventbus.mqtt.link import Link

        await self.close()
        # a client id of its own: publishers of several proxies must not end each other's connection
        self._link = Link(self._address, f"evoke-{secrets.token_hex(8)}", clean=True)
        self._task = asyncio.get_running_loop().create_task(self._link.run(), name=f"publish to {self._address}")
        return f"{self._address}"

    async def probe(self) -> None:
        """The link looks by itself."""

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = self._link = None

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:  # noqa: ARG002 - there is one
        topic = metadata.get("topic") or self._topic
        if not topic or {"+", "#", "\0"} & set(topic) or len(topic.encode("utf-8", "replace")) > LONGEST:
            raise MetadataIllegal(f"nothing is published on `{topic[:80]}`: a topic has no wildcards")
        if self._link is None:
            raise ComponentFailed("it was closed")
        retain = metadata.get("retain", str(self._retain)).lower() in _TRUE
        try:
            await self._link.acknowledged(self._link.submit(topic, data, retain=retain), WITHIN)
        except TooLarge as error:
            raise TooMuch(str(error)) from error
        except Refused as error:
            raise ComponentError(str(error)) from error
        except BusError as error:
            raise ComponentFailed(str(error), reason=error.reason) from error
        return Answer()


def open_binding(_component: Component, metadata: Metadata, _around: Surroundings) -> MqttBinding:
    options = {
        "url": metadata.url,
        "caCert": metadata.ca_cert,
        "clientCert": metadata.client_cert,
        "clientKey": metadata.client_key,
    }
    return MqttBinding(read_address(options), metadata.topic, retain=metadata.retain)


def source(component: Component, function: Key, subject: str) -> Source:
    """What brings messages for *function* to *subject*, in a session that the broker keeps."""
    topic = filter_of(text(component, "topic"))
    options = {name: value for name, value in broker(component).items() if name != "qos"}
    return bound("mqtt", component, function, subject, {**options, "topic": topic, "qos": "1"})


DECLARED = Declared(type="bindings.mqtt3", metadata=Metadata, open=open_binding, source=source, operations=("create",))
