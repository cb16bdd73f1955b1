"""How a Redis server is named in the metadata of every component that uses one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from types import MappingProxyType
from typing import Annotated, ClassVar, Literal

import msgspec

from proxy.components.declaration import ComponentMetadata, about

PORT = 6379
_RETRY = "a call is tried once, and a broken connection is made anew; a Resiliency policy tries calls again"
_POOL = "connections are opened as they are needed, checked before they are used, and dropped when they break"
_CLOUD = "sign in with redisUsername and redisPassword"


class RedisMetadata(ComponentMetadata, frozen=True, kw_only=True):
    """A server, a cluster, or servers behind Sentinel."""

    NOTED: ClassVar[Mapping[str, str]] = MappingProxyType({
        "redisMaxRetries": _RETRY,
        "redisMinRetryInterval": _RETRY,
        "redisMaxRetryInterval": _RETRY,
        "maxRetries": _RETRY,
        "maxRetryBackoff": _RETRY,
        "writeTimeout": "readTimeout is for the whole exchange",
        "minIdleConns": _POOL,
        "maxConnAge": _POOL,
        "idleTimeout": _POOL,
        "idleCheckFrequency": _POOL,
        "redisVersion": "the server says it",
    })  # fmt: skip
    REFUSED: ClassVar[Mapping[str, str]] = MappingProxyType({
        "useEntraID": _CLOUD,
        "useAzureAD": _CLOUD,
        "useOIDC": _CLOUD,
        "useAwsIam": _CLOUD,
        "oidcTokenEndpoint": _CLOUD,
        "oidcClientID": _CLOUD,
        "oidcClientAssertionCert": _CLOUD,
        "oidcClientAssertionKey": _CLOUD,
    })  # fmt: skip

    redis_host: Annotated[str, msgspec.Meta(min_length=1)]
    """``host:port``; several separated by commas for a cluster, or for Sentinels."""
    redis_port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = PORT
    """Of hosts that say none."""
    redis_username: str = ""
    """User; empty: the server's default one."""
    redis_password: Annotated[str, about(secret=True)] = ""
    """Its password."""
    redis_db: Annotated[int, msgspec.Meta(ge=0, le=65535)] = msgspec.field(name="redisDB", default=0)
    """Number of the database."""
    redis_type: Literal["node", "cluster"] = "node"
    """What the hosts are."""
    failover: bool = False
    """The hosts are Sentinels, which know the master."""
    sentinel_master_name: str = ""
    """What Sentinel calls the master."""
    sentinel_username: str = ""
    """User at the Sentinels."""
    sentinel_password: Annotated[str, about(secret=True)] = ""
    """Its password."""
    enable_tls: bool = msgspec.field(name="enableTLS", default=False)
    """Whether the connection is encrypted; certificates are always checked."""
    insecure_skip_tls_verify: bool = msgspec.field(name="insecureSkipTLSVerify", default=False)
    """Only ``false``."""
    ca_cert: Annotated[str, about(secret=True)] = ""
    """Ours: PEM of the authority; empty: the system's."""
    client_cert: Annotated[str, about(secret=True)] = ""
    """PEM of our certificate, where the server asks for one."""
    client_key: Annotated[str, about(secret=True)] = ""
    """PEM of its key."""
    dial_timeout: Annotated[timedelta, about(unit="ms")] = timedelta(seconds=5)
    """For a connection."""
    read_timeout: Annotated[timedelta, about(unit="ms")] = timedelta(seconds=3)
    """For an answer; a bare number counts milliseconds."""
    pool_size: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    """Most connections; 0: 20."""
    pool_timeout: Annotated[timedelta, about(unit="ms")] = timedelta(seconds=4)
    """How long a call waits for one of them."""

    def contradictions(self) -> Iterator[tuple[str, str]]:
        if self.insecure_skip_tls_verify:
            yield "insecureSkipTLSVerify", "certificates are always checked; give the authority as caCert"
        if self.failover and not self.sentinel_master_name:
            yield "failover", "it needs sentinelMasterName"
        if self.failover and self.redis_type == "cluster":
            yield "failover", "a cluster has no Sentinel; leave failover or redisType out"
        if self.redis_type == "cluster" and self.redis_db:
            yield "redisDB", "a cluster has database 0 only"
        if bool(self.client_cert) != bool(self.client_key):
            yield "clientCert", "clientCert and clientKey go together"
        try:
            self.hosts  # noqa: B018 - reading it is the check
        except ValueError as error:
            yield "redisHost", str(error)

    @property
    def hosts(self) -> tuple[tuple[str, int], ...]:
        """Raises ValueError for what is no address."""
        return tuple(self._host(part.strip()) for part in self.redis_host.split(",") if part.strip())

    @property
    def where(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.hosts)

    def _host(self, text: str) -> tuple[str, int]:
        bare = ":" not in text or text.endswith("]")
        host, port = (text, str(self.redis_port)) if bare else text.rsplit(":", 1)
        if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port[:6]) < 65536:
            raise ValueError(f"`{text[:80]}` is no address; write host:{PORT}")
        return host.strip("[]"), int(port)
