"""One Redis stream and our group in it; the only module that imports redis, whose errors end here."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import msgspec
import redis.asyncio as client
from redis import exceptions
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from api import durations
from api.meta import Key
from eventbus.diagnosis import diagnose
from eventbus.errors import AuthFailed, BusError, Unreachable
from triggers.sources.redis_entries import Entry
from triggers.sources.source import BadSource, Missing

PORT = 6379
BATCH = 200
"""Entries of one read, at most, and about as many as BATCH_BYTES hold."""
BATCH_BYTES = 4 << 20
BLOCK = 2.0
"""Seconds for which the server holds a read while there is nothing new."""
CONSUMER = "evoke"
"""One name for whoever owns the source: the next owner finds what the last one left, and goes on in order."""
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password")


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where the stream is and how it is read; times in seconds."""

    hosts: tuple[tuple[str, int], ...]
    stream: str
    group: str
    user: str = ""
    password: str = ""
    tls: bool = False
    ca: str = ""
    db: int = 0
    master: str = ""
    """Name of Sentinel's master; empty: hosts are the servers themselves."""
    cluster: bool = False
    dial: float = 5.0
    read: float = 3.0
    idle: float = 15.0
    """After which another consumer's entry is taken over; 0: never."""
    claim_every: float = 60.0
    """0: never."""
    retry_first: float = 0.1
    retry_cap: float = 5.0

    @property
    def where(self) -> str:
        return ",".join(f"{host}:{port}" for host, port in self.hosts)


def read_settings(key: Key, options: Mapping[str, str]) -> Settings:
    """From the fields of an EventSource; raises BadSource."""
    cluster, failover = options.get("redisType", "node") == "cluster", options.get("failover") == "true"
    if options.get("redisType", "node") not in {"node", "cluster"}:
        raise BadSource(f"redisType {options['redisType']!r} is not known", hint="write node or cluster")
    if failover and (cluster or not options.get("sentinelMasterName")):
        raise BadSource("failover needs sentinelMasterName, and redisType node", hint="name Sentinel's master")
    if cluster and options.get("redisDB", "0") != "0":
        raise BadSource("a cluster has database 0 only", hint="leave redisDB out")
    owner, _, event = key.name.partition(".")
    return Settings(
        hosts=tuple(_host(one.strip()) for one in options.get("redisHost", "").split(",")),
        stream=options.get("stream") or event,
        group=f"{key.namespace}-{owner}-{event}",
        user=options.get("redisUsername", ""),
        password=options.get("redisPassword", ""),
        tls=options.get("enableTLS") == "true" or bool(options.get("caCert")),
        ca=options.get("caCert", ""),
        db=int(options.get("redisDB", "0")),
        master=options["sentinelMasterName"] if failover else "",
        cluster=cluster,
        dial=_seconds(options, "dialTimeout", 5.0) or 5.0,
        read=_seconds(options, "readTimeout", 3.0) or 3.0,
        idle=_seconds(options, "processingTimeout", 15.0),
        claim_every=_seconds(options, "redeliverInterval", 60.0),
        retry_first=_seconds(options, "redisMinRetryInterval", 0.1) or 0.1,
        retry_cap=_seconds(options, "redisMaxRetryInterval", 5.0) or 5.0,
    )


def _host(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":") if ":" in text else (text, "", str(PORT))
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise BadSource(f"redisHost {text!r} does not hold", hint="write host:6379")
    return host.strip("[]"), int(port)


def _seconds(options: Mapping[str, str], name: str, default: float) -> float:
    """A Go duration, or a number of milliseconds as Dapr has it."""
    text = options.get(name, "")
    if not text:
        return default
    try:
        parsed = timedelta(milliseconds=int(text)) if text.isdigit() else durations.parse(text)
    except (ValueError, OverflowError) as error:
        raise BadSource(f"{name} {text!r} does not hold", hint="write one such as 15s") from error
    return parsed.total_seconds()


class RedisStream:
    """Reads and acknowledges as our group's consumer. Every method raises BusError subclasses only."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._client: Any = None  # Redis and RedisCluster share their commands, and no base class
        self._sentinel: client.Sentinel | None = None
        self._count = BATCH

    async def open(self) -> None:
        """Connect, and make the group, which begins at the oldest entry."""
        await self.close()
        async with self._translated():
            self._client = self._made()
            await self._client.ping()
            await self._group()

    async def read(self, after: str) -> list[Entry]:
        """Entries given to us after that id and not acknowledged; ``>``: new ones, once there are any.

        One without fields was deleted from the stream meanwhile.
        """
        block = int(BLOCK * 1000) if after == ">" else None
        async with self._translated():
            found = await self._client.xreadgroup(
                self._settings.group, CONSUMER, {self._settings.stream: after}, count=self._count, block=block
            )
        return self._sized(_entries(found[0][1])) if found else []

    async def claim(self) -> list[Entry]:
        """Take over what another consumer of the group left, oldest first."""
        async with self._translated():
            _, found, *_ = await self._client.xautoclaim(
                self._settings.stream,
                self._settings.group,
                CONSUMER,
                min_idle_time=int(self._settings.idle * 1000),
                count=self._count,
            )
        return self._sized(_entries(found))

    def _sized(self, entries: list[Entry]) -> list[Entry]:
        """Let the next read be as large as these say: the server limits a read by entries, not by bytes."""
        size = sum(len(name) + len(value) for entry in entries for name, value in entry.fields.items())
        if size:
            self._count = max(1, min(BATCH, self._count * 2, BATCH_BYTES * len(entries) // size))
        return entries

    async def acknowledge(self, entries: Sequence[Entry]) -> None:
        async with self._translated():
            await self._client.xack(self._settings.stream, self._settings.group, *(entry.id for entry in entries))

    async def add(self, payload: bytes) -> None:
        """Append an entry."""
        async with self._translated():
            await self._client.xadd(self._settings.stream, {"data": payload})

    async def close(self) -> None:
        for one in (self._client, *(self._sentinel.sentinels if self._sentinel else ())):
            if one is not None:
                with contextlib.suppress(exceptions.RedisError, OSError):
                    await one.aclose()
        self._client = self._sentinel = None

    async def _group(self) -> None:
        settings = self._settings
        try:
            await self._client.xgroup_create(settings.stream, settings.group, id="0", mkstream=True)
        except exceptions.ResponseError as error:
            if not str(error).startswith("BUSYGROUP"):
                raise

    def _made(self) -> Any:
        settings = self._settings
        login = {"username": settings.user or None, "password": settings.password or None}
        common: dict[str, Any] = {
            **login,
            "socket_connect_timeout": settings.dial,
            "socket_timeout": settings.read + BLOCK,
            "ssl": settings.tls,
            "client_name": settings.group,
            "protocol": 2,
        }
        if settings.tls:
            common |= {"ssl_ca_data": settings.ca or None, "ssl_check_hostname": True}
        once = Retry(NoBackoff(), 0)  # the source itself tries again, and says why
        if settings.cluster:
            nodes = [ClusterNode(host, port) for host, port in settings.hosts]
            return client.RedisCluster(startup_nodes=nodes, **common)
        if settings.master:
            timeouts = {name: common[name] for name in ("socket_connect_timeout", "socket_timeout")}
            self._sentinel = client.Sentinel(settings.hosts, sentinel_kwargs=timeouts)  # type: ignore[no-untyped-call] # redis-py's own gap
            return self._sentinel.master_for(settings.master, db=settings.db, retry=once, **common)
        host, port = settings.hosts[0]
        return client.Redis(host=host, port=port, db=settings.db, retry=once, **common)

    @asynccontextmanager
    async def _translated(self) -> AsyncIterator[None]:
        where = self._settings.where
        try:
            yield
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # redis writes under asyncio.wait_for, which up to Python 3.11 swallows a cancellation that comes
                # together with the result (python/cpython#86296)
                raise asyncio.CancelledError
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise AuthFailed(f"{where} refused: {error}", hint="check redisUsername and redisPassword") from error
        except exceptions.ResponseError as error:
            if str(error).startswith(_REFUSED):
                raise AuthFailed(f"{where} refused: {error}", hint="check redisUsername and redisPassword") from error
            if str(error).startswith("WRONGTYPE"):
                raise Missing(f"key {self._settings.stream} at {where} is no stream") from error
            raise Unreachable(f"{where}: {error}") from error
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError) as error:
            raise await self._cause() or Unreachable(f"{where}: {error}") from error

    async def _cause(self) -> BusError | None:
        settings = self._settings
        return await diagnose(
            "redis", {"brokers": settings.where, "tls": str(settings.tls).lower(), "caCert": settings.ca}
        )


def _entries(found: Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]) -> list[Entry]:
    return [Entry(id_.decode(), fields or {}) for id_, fields in found]
