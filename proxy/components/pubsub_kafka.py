"""pubsub.kafka: topics of a Kafka cluster as they stand, consumed by the platform's own rules.

What is published has the shape that Dapr gives it (structured CloudEvents JSON, metadata as headers, ``partitionKey``
or ``__key`` as the record's key), so that Dapr's own sidecars read it, and theirs is read here.
"""

from __future__ import annotations

from api.model import Bus, Component
from proxy.components.declaration import Declared
from proxy.components.kafka_cluster import KafkaMetadata, cluster


class Metadata(KafkaMetadata, frozen=True, kw_only=True):
    """A Kafka cluster."""


def bus(component: Component) -> Bus:
    """The event bus of the component."""
    return Bus(key=component.key, kind="kafka", options={**cluster(component), "dapr": "true"})


DECLARED = Declared(
    type="pubsub.kafka", metadata=Metadata, bus=bus, features=("BULK_PUBSUB",), summary="Topics of a Kafka cluster"
)
