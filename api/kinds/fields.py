"""Field types shared by all kinds: a value, its bounds and the rule of api.rules that checks it.

``extra={"rule": name}`` names the rule; ``extra_json_schema`` is what the CRD says of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, TypeAlias

import msgspec
from msgspec import Meta

LABEL = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"

Name: TypeAlias = Annotated[str, Meta(extra={"rule": "name"}, extra_json_schema={"pattern": LABEL, "maxLength": 63})]
Duration: TypeAlias = Annotated[str, Meta(extra={"rule": "duration"}, extra_json_schema={"maxLength": 64})]
Quantity: TypeAlias = Annotated[int | str, Meta(extra={"rule": "quantity"})]
Subject: TypeAlias = Annotated[str, Meta(extra={"rule": "subject"}, extra_json_schema={"maxLength": 249})]
"""A topic of an EventBus."""
Schedule: TypeAlias = Annotated[str, Meta(extra={"rule": "schedule"}, extra_json_schema={"maxLength": 256})]
"""``@every 2s``, ``@hourly`` or cron with five or six fields."""
MqttTopic: TypeAlias = Annotated[str, Meta(extra={"rule": "mqtt"}, extra_json_schema={"maxLength": 65535})]
KafkaTopic: TypeAlias = Annotated[str, Meta(extra={"rule": "kafka"}, extra_json_schema={"maxLength": 249})]
NatsSubject: TypeAlias = Annotated[str, Meta(extra={"rule": "nats"}, extra_json_schema={"maxLength": 249})]
DaprTopic: TypeAlias = Annotated[str, Meta(extra={"rule": "topic"}, extra_json_schema={"maxLength": 65535})]
"""A topic of a pub/sub component; what its broker takes is told where the component is known."""
Wait: TypeAlias = Annotated[str | int, Meta(extra={"rule": "wait"})]
"""A duration; a bare number counts milliseconds, as Dapr reads it."""
Handler: TypeAlias = Annotated[str, Meta(extra={"rule": "handler"}, extra_json_schema={"maxLength": 256})]
Condition: TypeAlias = Annotated[str, Meta(extra={"rule": "condition"}, extra_json_schema={"maxLength": 1024})]
EnvName: TypeAlias = Annotated[str, Meta(extra={"rule": "env"}, extra_json_schema={"maxLength": 256})]
Host: TypeAlias = Annotated[str, Meta(extra={"rule": "host"}, extra_json_schema={"maxLength": 253})]
Percent: TypeAlias = Annotated[str, Meta(extra={"rule": "percent"}, extra_json_schema={"pattern": r"^\d{1,3}%$"})]
Base64: TypeAlias = Annotated[str, Meta(extra={"rule": "base64"})]

Port: TypeAlias = Annotated[int, Meta(ge=1, le=65535)]
Count: TypeAlias = Annotated[int, Meta(ge=0, le=1_000_000)]
Positive: TypeAlias = Annotated[int, Meta(ge=1, le=1_000_000)]
Replicas: TypeAlias = Annotated[int, Meta(ge=0, le=10_000)]
Seconds: TypeAlias = Annotated[int, Meta(ge=0, le=31_536_000)]
"""At most a year."""


class Wire(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """Base of the wire types: unknown fields are refused, names are camelCase."""


class SecretKeySelector(Wire, frozen=True, kw_only=True):
    """One key of a Secret of the same namespace."""

    refused: ClassVar[Mapping[str, str]] = {"namespace": "references stay in their own namespace"}

    name: Name
    """Name of the Secret."""
    key: str
    """Key in its data."""


class ValueFrom(Wire, frozen=True, kw_only=True):
    """Where a credential stands instead of the YAML."""

    secret_ref: SecretKeySelector
    """A key of a Secret."""


class LocalObjectReference(Wire, frozen=True, kw_only=True):
    """A Secret of the same namespace."""

    refused: ClassVar[Mapping[str, str]] = {"namespace": "references stay in their own namespace"}

    name: Name
    """Its name."""


class ObjectReference(Wire, frozen=True, kw_only=True):
    """A resource by name and namespace."""

    name: Name
    """Its name."""
    namespace: Name | None = None
    """Its namespace; empty: the same."""


class SinkReference(Wire, frozen=True, kw_only=True):
    """Who receives the events."""

    kind: str
    """``Function``; Knative's ``Service`` where Knative runs."""
    name: Name
    """Its name."""
    namespace: Name | None = None
    """Only the resource's own namespace may stand here."""
    api_version: str | None = None
    """``core.openfunction.io/v1beta2`` for a Function."""


class Sink(Wire, frozen=True, kw_only=True):
    """A receiver by reference or by address; exactly one of both."""

    ref: SinkReference | None = None
    """A Function: events go through the bus, durably."""
    uri: str | None = None
    """An HTTP address that takes CloudEvents as POSTs."""
