"""pubsub.mqtt3: topics of an MQTT broker, brought into the platform's own store before they are delivered.

MQTT keeps nothing for who comes later and has no way to say no to a message, so the broker stands in front and a bridge
per topic filter, one session hosted by one proxy, stores what it receives and acknowledges it then. Two replicas never
fight for one client id, nothing waits unacknowledged for a slow function, and a failed event is tried again here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, ClassVar

import msgspec

from api.model import Bus, Component, Option
from proxy.components.declaration import ComponentMetadata, Declared, about
from proxy.components.options import renamed, truth


class MqttMetadata(ComponentMetadata, frozen=True, kw_only=True):
    """Fields that pubsub.mqtt3 and bindings.mqtt3 share."""

    url: Annotated[str, about(secret=True)]
    """``tcp://`` or ``mqtt://``, with TLS ``ssl://`` or ``mqtts://``; user and password may stand in it."""
    consumer_id: str = msgspec.field(name="consumerID", default="")
    """Who shares the progress; empty: the app id. It is no client id: each topic has a session of its own."""
    qos: Annotated[int, msgspec.Meta(ge=0, le=2)] = 1
    """Whatever stands here, publishes wait for the broker and messages come at least once, as with 1."""
    retain: bool = False
    """The broker keeps the newest message of each topic for who subscribes later."""
    ca_cert: Annotated[str, about(secret=True)] = ""
    """PEM of the authority that the broker's certificate comes from; empty: the system's."""
    client_cert: Annotated[str, about(secret=True)] = ""
    """PEM of our certificate."""
    client_key: Annotated[str, about(secret=True)] = ""
    """PEM of its key."""

    NOTED: ClassVar[Mapping[str, str]] = {
        "cleanSession": "the session is kept, so that nothing is lost while nobody is connected",
        "backOffMaxRetries": "retries follow the delivery of the subscription (resiliency)",
    }

    def contradictions(self) -> Iterator[tuple[str, str]]:
        """Certificate and key."""
        if bool(self.client_cert) != bool(self.client_key):
            yield "clientCert", "clientCert and clientKey go together"


class Metadata(MqttMetadata, frozen=True, kw_only=True):
    """An MQTT broker."""


def broker(component: Component) -> dict[str, Option]:
    """Options by which eventbus/mqtt finds the broker."""
    names = ("url", "caCert", "clientCert", "clientKey", "qos")
    return renamed(component, {name: name for name in names})


def bus(component: Component) -> Bus:
    """The event bus of the component."""
    keeps = {"retain": "true"} if truth(component, "retain") else {}
    return Bus(key=component.key, kind="mqtt", options={**broker(component), **keeps, "dapr": "true"})


DECLARED = Declared(
    type="pubsub.mqtt3",
    metadata=Metadata,
    bus=bus,
    features=("SUBSCRIBE_WILDCARDS",),
    summary="Topics of an MQTT broker, wildcards included",
)
