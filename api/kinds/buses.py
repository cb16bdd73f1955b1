"""EventBus and ClusterEventBus (events.openfunction.io/v1alpha1) with our extensions."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from api.kinds.fields import (
    Count,
    Replicas,
    Seconds,
    ValueFrom,
    Wire,
)
from api.kinds.keda import Advanced, AuthenticationRef

LogLevel = Annotated[str, Meta(pattern=r"^\d{1,2}$")]


class ScaleOption(Wire, frozen=True, kw_only=True):
    """Scaling of upstream's handler processes; ours are shared and need none."""

    polling_interval: Seconds | None = None
    """Seconds between two readings."""
    cooldown_period: Seconds | None = None
    """Idle seconds before zero."""
    min_replica_count: Replicas | None = None
    """Fewest replicas."""
    max_replica_count: Replicas | None = None
    """Most replicas."""
    advanced: Advanced | None = None
    """HPA settings."""
    metadata: dict[str, str] = {}
    """Settings of the scaler."""
    auth_ref: AuthenticationRef | None = None
    """Where its credentials stand."""


class NatsStreamingScaleOption(ScaleOption, frozen=True, kw_only=True):
    """Scaling on the lag of a NATS Streaming subject."""

    nats_server_monitoring_endpoint: str | None = None
    """``host:port`` of the monitoring endpoint."""
    queue_group: str | None = None
    """Queue group."""
    durable_name: str | None = None
    """Durable name."""
    subject: str | None = None
    """Subject."""
    lag_threshold: str | None = None
    """Lag that one replica carries."""


class NatsStreaming(Wire, frozen=True, kw_only=True):
    """NATS Streaming, whose support ended in 2023: such a bus is served by the platform's own JetStream."""

    nats_url: str | None = msgspec.field(default=None, name="natsURL")
    """Address of the server."""
    nats_streaming_cluster_id: str | None = msgspec.field(default=None, name="natsStreamingClusterID")
    """Cluster id."""
    subscription_type: Literal["topic", "queue"] | None = None
    """Whether subscribers share events."""
    durable_subscription_name: str | None = None
    """Durable name."""
    ack_wait_time: str | None = None
    """Time before redelivery."""
    max_in_flight: Count | None = None
    """Largest number of unacknowledged events."""
    deliver_new: bool | None = None
    """Start with new events."""
    start_at_sequence: Count | None = None
    """Start at a sequence."""
    start_with_last_received: bool | None = None
    """Start with the last event."""
    deliver_all: bool | None = None
    """Start with the oldest event."""
    start_at_time_delta: str | None = None
    """Start some time ago."""
    start_at_time: str | None = None
    """Start at a time."""
    start_at_time_format: str | None = None
    """Format of that time."""
    consumer_id: str | None = msgspec.field(default=None, name="consumerID")
    """Client id."""
    scale_option: NatsStreamingScaleOption | None = None
    """Scaling of the handlers."""


class NatsBus(Wire, frozen=True, kw_only=True):
    """NATS JetStream; without a url the platform's own broker."""

    url: str | None = None
    """``nats://host:4222``, several separated by commas; empty: the platform's own broker."""
    username: str | None = None
    """User name."""
    password: str | None = None
    """Password; passwordFrom keeps it out of the YAML."""
    password_from: ValueFrom | None = None
    """Where the password stands."""
    token: str | None = None
    """Token instead of user name and password."""
    token_from: ValueFrom | None = None
    """Where the token stands."""
    tls: bool | None = None
    """Whether the connection is encrypted; where it is not given, the scheme ``tls://`` or a certificate says so."""
    ca_cert: str | None = None
    """PEM of the authority that signed the server's certificate; empty: the system's authorities."""
    client_cert: str | None = None
    """PEM of the client's certificate."""
    client_key: str | None = None
    """PEM of the client's key; clientKeyFrom keeps it out of the YAML."""
    client_key_from: ValueFrom | None = None
    """Where the client's key stands."""
    replicas: Annotated[int, Meta(ge=1, le=5)] | None = None
    """Copies of each stream."""
    durability: Literal["sync", "os"] | None = None
    """``sync``: the server syncs every message (``sync_interval: always``), so publishes share an fsync."""
    max_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 46)] | None = None
    """Bytes that one topic may hold before publishers are refused; 1 GiB where it is not given."""
    retain: Count | None = None
    """Events of a topic that are kept although every subscriber has passed them; 1000 where it is not given."""


class KafkaBus(Wire, frozen=True, kw_only=True):
    """Apache Kafka."""

    brokers: str
    """``host:9092``, several separated by commas."""
    partitions: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """Partitions of topics that Evoke makes, 1 where it is not given; topics that exist are used as they stand."""
    retain: Count | None = None
    """Events of a partition that are kept although every subscriber has passed them; the others are deleted. Where it
    is not given nothing is deleted: Kafka's own retention decides."""
    auth_required: bool | None = None
    """Whether SASL is used."""
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """SASL mechanism; PLAIN where it is not given."""
    sasl_username: str | None = None
    """SASL user name."""
    sasl_password: str | None = None
    """SASL password; saslPasswordFrom keeps it out of the YAML."""
    sasl_password_from: ValueFrom | None = None
    """Where the SASL password stands."""
    tls: bool | None = None
    """Whether the connection is encrypted; where it is not given, a certificate or authRequired says so."""
    ca_cert: str | None = None
    """PEM of the authority that signed the brokers' certificate; empty: the system's authorities."""
    client_cert: str | None = None
    """PEM of the client's certificate."""
    client_key: str | None = None
    """PEM of the client's key; clientKeyFrom keeps it out of the YAML."""
    client_key_from: ValueFrom | None = None
    """Where the client's key stands."""


class MqttBus(Wire, frozen=True, kw_only=True):
    """An MQTT broker that publishers and subscribers outside share; events are stored in the platform's broker."""

    url: str
    """``tcp://host:1883`` or ``ssl://host:8883``."""
    username: str | None = None
    """User name."""
    password: str | None = None
    """Password; passwordFrom keeps it out of the YAML."""
    password_from: ValueFrom | None = None
    """Where the password stands."""
    tls: bool | None = None
    """Whether the connection is encrypted; where it is not given, the scheme ``ssl://`` or ``mqtts://`` says so."""
    ca_cert: str | None = None
    """PEM of the authority that signed the broker's certificate; empty: the system's authorities."""
    client_cert: str | None = None
    """PEM of the client's certificate."""
    client_key: str | None = None
    """PEM of the client's key; clientKeyFrom keeps it out of the YAML."""
    client_key_from: ValueFrom | None = None
    """Where the client's key stands."""


class EventBusSpec(Wire, frozen=True, kw_only=True):
    """A named broker connection that carries CloudEvents; at most one of the brokers.

    Every namespace has one named ``default`` without being declared: the platform's own broker.
    """

    topic: str | None = None
    """Unused, as upstream."""
    nats_streaming: NatsStreaming | None = None
    """NATS Streaming."""
    nats: NatsBus | None = None
    """NATS JetStream."""
    kafka: KafkaBus | None = None
    """Apache Kafka."""
    mqtt: MqttBus | None = None
    """An MQTT broker."""
