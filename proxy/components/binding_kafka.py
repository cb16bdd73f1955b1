"""``bindings.kafka``: records of a Kafka topic, as bytes; written here, brought by an event source."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, ClassVar

from api.meta import Key
from api.model import Bus, Component, Option, Source
from eventbus import raw
from eventbus.errors import AuthFailed, BusError, Refused, TooLarge
from proxy.components.declaration import Declared
from proxy.components.input_bindings import bound
from proxy.components.kafka_cluster import KafkaMetadata, cluster
from proxy.components.options import renamed, text
from proxy.components.protocols import Answer, ComponentError, ComponentFailed, MetadataIllegal, TooMuch
from proxy.components.surroundings import Surroundings

if TYPE_CHECKING:
    from eventbus.kafka.bus import KafkaBus

KEYS = ("partitionkey", "__key")
"""Names in the metadata of a request under which the record's key stands."""


class Metadata(KafkaMetadata, frozen=True, kw_only=True):
    """Writes records and waits until all in-sync replicas have them; metadata of a request: ``partitionKey`` or
    ``__key``, ``partitionNumber``, and everything else as a header of the record."""

    NOTED: ClassVar[Mapping[str, str]] = KafkaMetadata.NOTED

    topics: tuple[str, ...] = ()
    """Topics whose records an app gets."""
    publish_topic: str = ""
    """Topic that records are written to."""
    direction: str = ""
    """``input``, ``output``, or ``input, output``; an app is not asked whether it takes the records."""
    route: str = ""
    """Path of the app that takes the records; empty: the component's name."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        yield from super().contradictions()
        if not self.topics and not self.publish_topic:
            yield "publishTopic", "it has neither topics to read nor a publishTopic to write to"


class KafkaBinding:
    def __init__(self, make: Callable[[], KafkaBus], topic: str, source: str) -> None:
        self._make, self._topic, self._source = make, topic, source
        self._bus: KafkaBus | None = None

    @property
    def trouble(self) -> ComponentFailed | None:
        error = self._bus.trouble if self._bus is not None else None
        return ComponentFailed(str(error), reason=error.reason) if error is not None else None

    async def open(self) -> str:
        self._bus = self._make()
        try:
            return await self._bus.connect()
        except BusError as error:
            raise ComponentFailed(str(error), reason=error.reason) from error

    async def probe(self) -> None:
        """The bus looks by itself."""

    async def close(self) -> None:
        if self._bus is not None:
            await self._bus.close()
            self._bus = None

    async def invoke(self, operation: str, data: bytes, metadata: Mapping[str, str]) -> Answer:  # noqa: ARG002 - there is one
        if not self._topic:
            raise MetadataIllegal("the component has no publishTopic to write to")
        if self._bus is None:
            raise ComponentFailed("it was closed")
        key = next((value for name, value in metadata.items() if name.lower() in KEYS), "")
        now = datetime.now(UTC)
        payload = raw.wrap(data, id=str(uuid.uuid4()), source=self._source, type="binding", time=now, key=key)
        try:
            await self._bus.publish(self._topic, payload, key=key, output=True, metadata=metadata)
        except TooLarge as error:
            raise TooMuch(str(error)) from error
        except (Refused, AuthFailed) as error:
            raise ComponentError(str(error)) from error
        except BusError as error:
            raise ComponentFailed(str(error), reason=error.reason) from error
        return Answer()


def open_binding(component: Component, metadata: Metadata, _around: Surroundings) -> KafkaBinding:
    def make() -> KafkaBus:
        from eventbus.kafka.bus import KafkaBus

        bus = Bus(key=component.key, kind="kafka", options={**cluster(component), "dapr": "true"})
        return KafkaBus(bus, _plain)

    return KafkaBinding(make, metadata.publish_topic, component.name)


def _plain(option: Option) -> str:
    """Metadata are resolved before a component is opened."""
    assert isinstance(option, str)
    return option


def source(component: Component, function: Key, subject: str) -> Source:
    """What brings records for *function* to *subject*, read as one member of a group of its own name."""
    group = text(component, "consumerGroup") or text(component, "consumerID") or function.name
    options = {**cluster(component), **renamed(component, {"topics": "topic"}), "consumerGroup": group}
    return bound("kafka", component, function, subject, options)


DECLARED = Declared(type="bindings.kafka", metadata=Metadata, open=open_binding, source=source, operations=("create",))
