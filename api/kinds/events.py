"""OpenFunction's event resources (events.openfunction.io/v1alpha1) with our extensions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.kinds.delivery import Delivery
from api.kinds.fields import (
    Condition,
    Count,
    Duration,
    KafkaTopic,
    MqttTopic,
    Name,
    NatsSubject,
    Positive,
    Replicas,
    Schedule,
    Seconds,
    Sink,
    Subject,
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


class KafkaScaleOption(ScaleOption, frozen=True, kw_only=True):
    """Scaling on the lag of a Kafka topic."""

    consumer_group: str | None = None
    """Group whose lag is read."""
    topic: str | None = None
    """Topic whose lag is read."""
    lag_threshold: str | None = None
    """Lag that one replica carries."""


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
    ca_cert: str | None = None
    """PEM of the authority that signed the server's certificate."""
    replicas: Annotated[int, Meta(ge=1, le=5)] | None = None
    """Copies of each stream."""
    max_bytes: Annotated[int, Meta(ge=1 << 20, le=1 << 46)] | None = None
    """Bytes that one topic may hold before publishers are refused; 1 GiB where it is not given."""
    retain: Count | None = None
    """Events of a topic that are kept although every subscriber has passed them; 1000 where it is not given."""


class KafkaBus(Wire, frozen=True, kw_only=True):
    """Apache Kafka."""

    brokers: str
    """``host:9092``, several separated by commas."""
    auth_required: bool | None = None
    """Whether SASL is used."""
    sasl_username: str | None = None
    """SASL user name."""
    sasl_password: str | None = None
    """SASL password; saslPasswordFrom keeps it out of the YAML."""
    sasl_password_from: ValueFrom | None = None
    """Where the SASL password stands."""
    ca_cert: str | None = None
    """PEM of the authority that signed the brokers' certificates."""


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
    ca_cert: str | None = None
    """PEM of the authority that signed the broker's certificate."""


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


class KafkaSource(Wire, frozen=True, kw_only=True):
    """Events of a Kafka topic."""

    brokers: str
    """``host:9092``, several separated by commas."""
    topic: KafkaTopic
    """The topic."""
    auth_required: bool | None = None
    """Whether SASL is used."""
    sasl_username: str | None = None
    """SASL user name."""
    sasl_password: str | None = None
    """SASL password; saslPasswordFrom keeps it out of the YAML."""
    sasl_password_from: ValueFrom | None = None
    """Where the SASL password stands."""
    max_message_bytes: Positive | None = None
    """Largest message."""
    scale_option: KafkaScaleOption | None = None
    """Scaling of the handlers."""


class RedisSource(Wire, frozen=True, kw_only=True):
    """Events of a Redis stream, with the settings of Dapr's Redis client."""

    redis_host: str
    """``host:6379``."""
    redis_password: str | None = None
    """Password; redisPasswordFrom keeps it out of the YAML."""
    redis_password_from: ValueFrom | None = None
    """Where the password stands."""
    enable_tls: bool | None = msgspec.field(default=None, name="enableTLS")
    """TLS to the server."""
    failover: bool | None = None
    """Sentinel."""
    sentinel_master_name: str | None = None
    """Name of Sentinel's master."""
    redeliver_interval: str | None = None
    """Time between checks for pending messages."""
    processing_timeout: str | None = None
    """Time before a pending message is delivered again."""
    redis_type: str | None = None
    """``node`` or ``cluster``."""
    redis_db: Count | None = msgspec.field(default=None, name="redisDB")
    """Database number."""
    redis_max_retries: Count | None = None
    """Retries of a command."""
    redis_min_retry_interval: str | None = None
    """Shortest wait between retries."""
    redis_max_retry_interval: str | None = None
    """Longest wait between retries."""
    dial_timeout: str | None = None
    """Limit of a connect."""
    read_timeout: str | None = None
    """Limit of a read."""
    write_timeout: str | None = None
    """Limit of a write."""
    pool_size: Count | None = None
    """Connections."""
    pool_timeout: str | None = None
    """Wait for a connection."""
    max_conn_age: str | None = None
    """Age at which a connection is replaced."""
    min_idle_conns: Count | None = None
    """Idle connections kept."""
    idle_check_frequency: str | None = None
    """Time between checks of idle connections."""
    idle_timeout: str | None = None
    """Age at which an idle connection is closed."""


class CronSource(Wire, frozen=True, kw_only=True):
    """Events by the clock."""

    schedule: Schedule
    """``@every 2s``, ``@hourly``, ``*/5 * * * *``, or six fields with seconds first; ``CRON_TZ=Europe/Berlin`` may
    stand before it."""


class MqttSource(Wire, frozen=True, kw_only=True):
    """Messages of an MQTT topic filter."""

    url: str | None = None
    """``tcp://host:1883`` or ``ssl://host:8883``; empty: the platform's own listener."""
    topic: MqttTopic
    """Topic filter; ``+`` stands for one level, ``#`` for the rest."""
    consumer_id: str | None = msgspec.field(default=None, name="consumerID")
    """Client id; its session survives restarts."""
    qos: Annotated[int, Meta(ge=0, le=2)] | None = None
    """Quality of service asked for; 1 where it is not given."""
    retain: bool | None = None
    """Whether retained messages are delivered at the first subscription."""
    clean_session: bool | None = None
    """Whether the broker forgets the session at each disconnect, and with it what arrives meanwhile."""
    username: str | None = None
    """User name."""
    password: str | None = None
    """Password; passwordFrom keeps it out of the YAML."""
    password_from: ValueFrom | None = None
    """Where the password stands."""
    ca_cert: str | None = None
    """PEM of the authority that signed the broker's certificate."""
    client_cert: str | None = None
    """PEM of the client's certificate."""
    client_key: str | None = None
    """PEM of the client's key; clientKeyFrom keeps it out of the YAML."""
    client_key_from: ValueFrom | None = None
    """Where the client's key stands."""


class NatsSource(Wire, frozen=True, kw_only=True):
    """Messages of a NATS subject."""

    url: str | None = None
    """``nats://host:4222``; empty: the platform's own broker."""
    subject: NatsSubject
    """Subject; ``*`` stands for one token, ``>`` for the rest."""
    username: str | None = None
    """User name."""
    password: str | None = None
    """Password; passwordFrom keeps it out of the YAML."""
    password_from: ValueFrom | None = None
    """Where the password stands."""


class HttpSource(Wire, frozen=True, kw_only=True):
    """A webhook: each accepted request is an event."""

    path: str | None = None
    """Path on the gateway; empty: ``/webhook/<namespace>/<eventsource>/<event>``."""
    secret: str | None = None
    """Shared secret that signs the body (HMAC-SHA256); secretFrom keeps it out of the YAML."""
    secret_from: ValueFrom | None = None
    """Where the shared secret stands."""


class EventSourceSpec(Wire, frozen=True, kw_only=True):
    """Brings outside events onto an EventBus: a map of event names to settings per kind of source.

    An event arrives on the bus under the subject ``<namespace>.<eventsource>.<event>``.
    """

    event_bus: Name = "default"
    """Name of the EventBus."""
    kafka: dict[Name, KafkaSource] = {}
    """Kafka topics by event name."""
    redis: dict[Name, RedisSource] = {}
    """Redis streams by event name."""
    cron: dict[Name, CronSource] = {}
    """Schedules by event name."""
    mqtt: dict[Name, MqttSource] = {}
    """MQTT topic filters by event name."""
    nats: dict[Name, NatsSource] = {}
    """NATS subjects by event name."""
    http: dict[Name, HttpSource] = {}
    """Webhooks by event name."""
    sink: Sink | None = None
    """Function that gets every event of this source, through the bus."""
    build: dict[str, Any] | None = None
    """Unused, as upstream."""
    log_level: LogLevel | None = None
    """Upstream's verbosity, ``"1"`` and more."""


class TriggerInput(Wire, frozen=True, kw_only=True):
    """One event of an EventSource."""

    namespace: Name | None = None
    """Only the Trigger's own namespace may stand here."""
    event_source: Name
    """Name of the EventSource."""
    event: Name
    """Name of the event in it."""


class EventFilter(Wire, frozen=True, kw_only=True):
    """A CloudEvents subscription filter; exactly one dialect."""

    exact: dict[str, str] | None = None
    """Attributes that must be equal."""
    prefix: dict[str, str] | None = None
    """Attributes that must begin so."""
    suffix: dict[str, str] | None = None
    """Attributes that must end so."""
    all: tuple[EventFilter, ...] | None = None
    """Filters that must all match."""
    any: tuple[EventFilter, ...] | None = None
    """Filters of which one must match."""
    not_: EventFilter | None = msgspec.field(default=None, name="not")
    """A filter that must not match."""
    sql: str | None = None
    """CloudEvents SQL."""
    expression: Condition | None = None
    """Ours: a condition over attributes and data."""


class Correlation(Wire, frozen=True, kw_only=True):
    """How events of several inputs find each other."""

    window: Duration = "60s"
    """How long an event waits for the others."""
    key: str | None = None
    """Attribute or ``data`` path whose value they share; empty: any event with any other."""


class Subscriber(Wire, frozen=True, kw_only=True):
    """Who gets which events."""

    condition: Condition | None = None
    """Input names with ``||``, or a condition over attributes and data such as ``event.data.battery < 20``; empty:
    every event of every input."""
    filter: EventFilter | None = None
    """CloudEvents filter; must hold beside the condition."""
    correlation: Correlation | None = None
    """For conditions with ``&&`` over inputs."""
    sink: Sink | None = None
    """Function that gets the events."""
    dead_letter_sink: Sink | None = None
    """Function that gets what failed for good."""
    topic: Subject | None = None
    """Subject of the bus on which matching events are published."""
    dead_letter_topic: Subject | None = None
    """Subject of the bus on which what failed for good is published too."""
    delivery: Delivery | None = None
    """Attempts, time limits and order."""


class TriggerSpec(Wire, frozen=True, kw_only=True):
    """A filtered subscription: EventBus to Function."""

    event_bus: Name = "default"
    """Name of the EventBus."""
    inputs: dict[str, TriggerInput]
    """Events by the name they have in conditions."""
    subscribers: tuple[Subscriber, ...]
    """Who gets which events."""
    log_level: LogLevel | None = None
    """Upstream's verbosity."""
