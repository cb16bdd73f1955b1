"""The one module of the components that imports redis: calls to one server, whose errors are ours.

Imported when the first component that needs it is opened.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import redis.asyncio as client
from redis import exceptions
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from eventbus.diagnosis import diagnose
from eventbus.errors import BusError, NotABroker, TlsFailed
from proxy.components.protocols import ComponentError, ComponentFailed
from proxy.components.redis_metadata import RedisMetadata

POOL = 20
"""Connections, where poolSize says nothing."""
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password")

Call = tuple[Any, ...]
"""A command and its arguments."""


class WrongType(ComponentError):
    """The key holds another kind of value."""


class CrossSlot(ComponentError):
    """The keys of a command stand on different nodes of a cluster."""


class ScriptFailed(ComponentError):
    """The server refused a command; the message is its own."""


class RedisConnection:
    """Every method raises ComponentError."""

    def __init__(self, metadata: RedisMetadata, name: str) -> None:
        """*name*: what people see in the server's CLIENT LIST."""
        self._metadata, self._name = metadata, name
        self._client: Any = None  # Redis and RedisCluster share their commands, and no base class
        self._sentinel: client.Sentinel | None = None
        self._descriptors: list[int] = []
        self.replicas = 0
        """Servers that follow this one."""
        self.trouble: ComponentFailed | None = None
        """Why the last call failed."""

    async def open(self) -> str:
        await self.close()
        self._client = self._made()
        async with self.translated():
            info = await self._client.info("server") if not self._clustered else {}
            following = await self._client.info("replication") if not self._clustered else {}
            if self._clustered:
                await self._client.ping()
        self.replicas = int(following.get("connected_slaves", 0))
        return f"redis {info.get('redis_version', 'cluster')} at {self._metadata.where}"

    async def probe(self) -> None:
        """Ask whether it is there; *trouble* is what came of it."""
        await self.call("PING")

    async def close(self) -> None:
        for one in (self._client, *(self._sentinel.sentinels if self._sentinel else ())):
            if one is not None:
                with contextlib.suppress(exceptions.RedisError, OSError):
                    await one.aclose()
        self._client = self._sentinel = None
        while self._descriptors:
            os.close(self._descriptors.pop())

    async def call(self, *command: Any) -> Any:
        """The answer to one command, bytes as they are."""
        async with self.translated():
            return await self._client.execute_command(*command)

    async def calls(self, commands: Sequence[Call]) -> list[Any]:
        """Answers to several commands on one connection, in order; of one that failed a WrongType or ScriptFailed."""
        async with self.translated():
            pipeline = self._client.pipeline(transaction=False) if not self._clustered else self._client.pipeline()
            for command in commands:
                pipeline.execute_command(*command)
            answers = await pipeline.execute(raise_on_error=False)
        return [_refusal(one) if isinstance(one, exceptions.ResponseError) else one for one in answers]

    @asynccontextmanager
    async def pubsub(self) -> AsyncIterator[Any]:
        """A connection that listens; closed with the context."""
        async with self.translated():
            listening = self._client.pubsub()
            try:
                yield listening
            finally:
                await listening.aclose()

    @property
    def _clustered(self) -> bool:
        return self._metadata.redis_type == "cluster"

    def _made(self) -> Any:
        metadata = self._metadata
        common: dict[str, Any] = {
            "username": metadata.redis_username or None,
            "password": metadata.redis_password or None,
            "socket_connect_timeout": metadata.dial_timeout.total_seconds() or 5.0,
            "socket_timeout": metadata.read_timeout.total_seconds() or 3.0,
            "client_name": self._name,
            "protocol": 2,
            **self._tls(),
        }
        once = Retry(NoBackoff(), 0)  # whether a call may be made twice is its caller's to say
        if self._clustered:
            nodes = [ClusterNode(host, port) for host, port in metadata.hosts]
            return client.RedisCluster(startup_nodes=nodes, ssl=metadata.enable_tls, **common)
        if metadata.failover:
            known = {name: common[name] for name in ("socket_connect_timeout", "socket_timeout")}
            known |= {"username": metadata.sentinel_username or None, "password": metadata.sentinel_password or None}
            self._sentinel = client.Sentinel(metadata.hosts, sentinel_kwargs=known)  # type: ignore[no-untyped-call] # redis-py's own gap
            return self._sentinel.master_for(
                metadata.sentinel_master_name, db=metadata.redis_db, retry=once, ssl=metadata.enable_tls, **common
            )
        host, port = metadata.hosts[0]
        kind = client.SSLConnection if metadata.enable_tls else client.Connection
        pool = client.BlockingConnectionPool(
            max_connections=metadata.pool_size or POOL,
            timeout=metadata.pool_timeout.total_seconds(),
            connection_class=kind,
            host=host,
            port=port,
            db=metadata.redis_db,
            retry=once,
            **common,
        )
        return client.Redis.from_pool(pool)

    def _tls(self) -> dict[str, Any]:
        metadata = self._metadata
        if not metadata.enable_tls:
            return {}
        options: dict[str, Any] = {"ssl_ca_data": metadata.ca_cert or None, "ssl_check_hostname": True}
        if metadata.client_cert:
            options |= {
                "ssl_certfile": self._file(metadata.client_cert),
                "ssl_keyfile": self._file(metadata.client_key),
            }
        return options

    def _file(self, text: str) -> str:
        """A path of *text* while this connection is open; it never reaches a disk."""
        descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
        self._descriptors.append(descriptor)
        os.write(descriptor, text.encode())
        return f"/proc/self/fd/{descriptor}"

    @asynccontextmanager
    async def translated(self) -> AsyncIterator[None]:
        """Raise our errors for those of the client, and remember what the server is like."""
        where = self._metadata.where
        if self._client is None:
            raise ComponentFailed(f"{where}: it was closed")
        try:
            yield
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # redis writes under asyncio.wait_for, which up to Python 3.11 swallows a cancellation that comes
                # together with the result (python/cpython#86296)
                raise asyncio.CancelledError
            self.trouble = None
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise self._failed(f"{where} refused: {error}", "AuthFailed") from error
        except exceptions.ResponseError as error:
            if str(error).startswith(_REFUSED):
                raise self._failed(f"{where} refused: {error}", "AuthFailed") from error
            if isinstance(error, exceptions.OutOfMemoryError) or str(error).startswith(("OOM", "MISCONF")):
                raise self._failed(f"{where}: {error}", "StorageFailed") from error
            raise _refusal(error) from error
        except exceptions.CrossSlotTransactionError as error:
            raise CrossSlot(str(error)) from error
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError) as error:
            if "same key slot" in str(error):  # the client looks before the server does
                raise CrossSlot(str(error)) from error
            cause = await self._cause()
            raise self._failed(str(cause or f"{where}: {error}"), cause.reason if cause else "Unreachable") from error

    async def _cause(self) -> BusError | None:
        metadata = self._metadata
        options = {"brokers": metadata.where, "tls": str(metadata.enable_tls).lower(), "caCert": metadata.ca_cert}
        found = await diagnose(
            "redis", {**options, "clientCert": metadata.client_cert, "clientKey": metadata.client_key}
        )
        if isinstance(found, NotABroker) and metadata.enable_tls:  # TLS 1.3 tells a client only by hanging up
            ours = "did not take ours" if metadata.client_cert else "got none"
            return TlsFailed(f"{metadata.where} may ask for a client's certificate and {ours}", hint="check clientCert")
        return found

    def _failed(self, message: str, reason: str) -> ComponentFailed:
        self.trouble = ComponentFailed(message, reason=reason)
        return self.trouble


def _refusal(error: exceptions.ResponseError) -> ComponentError:
    text = str(error)
    if text.startswith("CROSSSLOT"):
        return CrossSlot(text)
    return WrongType(text) if text.startswith("WRONGTYPE") else ScriptFailed(f"redis: {text}")
