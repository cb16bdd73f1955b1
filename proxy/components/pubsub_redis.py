"""pubsub.redis: streams of a Redis server, brought into the platform's own store before they are delivered.

An entry is what Dapr writes: a field ``data``, and ``metadata`` as JSON where there is some. A bridge per stream reads
as a consumer group, stores each entry and acknowledges it then: a handler that fails neither loses the entry nor makes
Redis hand it out a second time while it still runs.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

import msgspec

from api.model import Bus, Component
from proxy.components.declaration import ComponentMetadata, Declared, about
from proxy.components.options import renamed

_POOL = "each bridge, and all publishes, have one connection"
_RETRY = "retries follow the delivery of the subscription (resiliency); Redis never hands out twice what is in work"
_CLOUD = "log in with redisUsername and redisPassword"


class Metadata(ComponentMetadata, frozen=True, kw_only=True):
    """A Redis server, a cluster, or servers behind Sentinel."""

    redis_host: str
    """``host:port``; several separated by commas of a cluster or of Sentinels."""
    redis_username: str = ""
    """User; empty: the default one."""
    redis_password: Annotated[str, about(secret=True)] = ""
    """Password."""
    redis_type: Literal["node", "cluster"] = "node"
    """One server, or a cluster."""
    redis_db: Annotated[int, msgspec.Meta(ge=0)] = msgspec.field(name="redisDB", default=0)
    """Number of the database."""
    enable_tls: bool = msgspec.field(name="enableTLS", default=False)
    """Connect with TLS."""
    ca_cert: Annotated[str, about(secret=True)] = ""
    """PEM of the authority that the server's certificate comes from; empty: the system's. Of ours."""
    client_cert: Annotated[str, about(secret=True)] = ""
    """PEM of our certificate."""
    client_key: Annotated[str, about(secret=True)] = ""
    """PEM of its key."""
    failover: bool = False
    """Ask Sentinel for the master."""
    sentinel_master_name: str = ""
    """Master's name, with failover."""
    sentinel_username: str = ""
    """User at Sentinel."""
    sentinel_password: Annotated[str, about(secret=True)] = ""
    """Password at Sentinel."""
    consumer_id: str = msgspec.field(name="consumerID", default="")
    """Consumer group in Redis, shared with whoever else uses it; empty: one of ours."""
    processing_timeout: Annotated[timedelta, about(unit="ms")] = timedelta(seconds=15)
    """After which an entry that another consumer of the group holds is taken over; 0: never."""
    redeliver_interval: Annotated[timedelta, about(unit="ms")] = timedelta(seconds=60)
    """How often that is looked for; 0: never."""
    dial_timeout: timedelta = timedelta(seconds=5)
    """For a new connection."""
    read_timeout: timedelta = timedelta(seconds=3)
    """For an answer."""
    max_len_approx: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Entries that a stream keeps, about; 0: all."""
    stream_ttl: timedelta | None = msgspec.field(name="streamTTL", default=None)
    """Age up to which a stream keeps entries, about."""

    NOTED: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("poolSize", "poolTimeout", "maxConnAge", "minIdleConns", "idleCheckFrequency"), _POOL),
        **dict.fromkeys(("idleTimeout", "writeTimeout", "queueDepth", "concurrency"), _POOL),
        **dict.fromkeys(("redisMaxRetries", "redisMinRetryInterval", "redisMaxRetryInterval", "ackOnError"), _RETRY),
    }
    REFUSED: ClassVar[Mapping[str, str]] = {"useEntraID": _CLOUD, "useIAM": _CLOUD}


NAMES = {
    name: name
    for name in (
        *("redisHost", "redisUsername", "redisPassword", "redisType", "redisDB", "enableTLS", "caCert", "clientCert"),
        *("clientKey", "failover", "sentinelMasterName", "sentinelUsername", "sentinelPassword", "processingTimeout"),
        *("redeliverInterval", "dialTimeout", "readTimeout", "maxLenApprox", "streamTTL"),
    )
} | {"consumerID": "consumerGroup"}
"""Metadata name -> option."""


def bus(component: Component) -> Bus:
    """The event bus of the component."""
    return Bus(key=component.key, kind="redis", options={**renamed(component, NAMES), "dapr": "true"})


DECLARED = Declared(type="pubsub.redis", metadata=Metadata, bus=bus, summary="Streams of a Redis server")
