"""EventSource (events.openfunction.io/v1alpha1) with our extensions."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from api.kinds.buses import LogLevel, ScaleOption
from api.kinds.fields import (
    Count,
    KafkaTopic,
    MqttTopic,
    Name,
    NatsSubject,
    Positive,
    Schedule,
    Sink,
    ValueFrom,
    Wire,
)


class KafkaScaleOption(ScaleOption, frozen=True, kw_only=True):
    """Scaling on the lag of a Kafka topic."""

    consumer_group: str | None = None
    """Group whose lag is read."""
    topic: str | None = None
    """Topic whose lag is read."""
    lag_threshold: str | None = None
    """Lag that one replica carries."""


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
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    """SASL mechanism; PLAIN where it is not given."""
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
    start: Literal["new", "all"] | None = None
    """Where a group that has read nothing yet begins: ``new`` records, where it is not given, or ``all``."""
    max_message_bytes: Positive | None = None
    """Largest message."""
    scale_option: KafkaScaleOption | None = None
    """Scaling of the handlers."""


class RedisSource(Wire, frozen=True, kw_only=True):
    """Events of a Redis stream, with the settings of Dapr's Redis client."""

    redis_host: str
    """``host:6379``."""
    stream: str | None = None
    """Key of the stream; empty: the name of the event."""
    redis_username: str | None = None
    """User name of an ACL; empty: ``default``."""
    redis_password: str | None = None
    """Password; redisPasswordFrom keeps it out of the YAML."""
    redis_password_from: ValueFrom | None = None
    """Where the password stands."""
    enable_tls: bool | None = msgspec.field(default=None, name="enableTLS")
    """TLS to the server."""
    ca_cert: str | None = None
    """PEM of the authority that signed the server's certificate; empty: the system's authorities."""
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
    missed: Literal["skip", "once", "all"] | None = None
    """Runs that passed while nobody could fire them: ``skip`` them, where it is not given, fire ``once`` for all of
    them, or fire ``all``, at most 100."""


class MqttSource(Wire, frozen=True, kw_only=True):
    """Messages of an MQTT topic filter."""

    url: str | None = None
    """``tcp://host:1883`` or ``ssl://host:8883``; empty: the platform's own listener."""
    topic: MqttTopic
    """Topic filter; ``+`` stands for one level, ``#`` for the rest."""
    consumer_id: str | None = msgspec.field(default=None, name="consumerID")
    """Client id, made from the source's name where it is not given; its session survives restarts."""
    qos: Annotated[int, Meta(ge=0, le=2)] | None = None
    """Quality of service asked for; 1 where it is not given. 2 is received as 1, which loses nothing and may repeat."""
    retain: bool | None = None
    """Whether retained messages become events at the first subscription; ``true`` where it is not given."""
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
    stream: str | None = None
    """JetStream stream that stores the subject; empty: messages that nobody stores, received while connected."""
    start: Literal["new", "all"] | None = None
    """Where a stream that was never read begins: ``new`` messages, where it is not given, or ``all``."""
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
