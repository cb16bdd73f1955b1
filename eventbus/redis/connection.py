"""A connection to Redis for streams; the one module of buses and event sources that imports redis.

Every method raises BusError subclasses only, and nothing is tried again here: the caller says why and when.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import redis.asyncio as client
from redis import exceptions
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from eventbus.diagnosis import diagnose
from eventbus.errors import AuthFailed, BusError, BusFull, Missing, Unreachable
from eventbus.redis.server import Server

_UNFIT = re.compile(r"[^!-~]")
"""What no client name may have (CLIENT SETNAME)."""
_REFUSED = ("NOAUTH", "WRONGPASS", "NOPERM", "ERR AUTH", "ERR invalid password")

Found = Sequence[tuple[bytes, Mapping[bytes, bytes] | None]]
"""Ids with fields; None: the entry was deleted meanwhile."""


class Entry(NamedTuple):
    """One to be appended."""

    stream: str
    fields: Mapping[str, bytes]
    most: int = 0
    """Entries that the stream keeps, about; 0: all."""
    oldest: str = ""
    """Id below which entries may go; empty: none."""


class Connection:
    """*waits*: seconds for which the server may hold an answer back."""

    def __init__(self, server: Server, name: str, *, waits: float = 0.0) -> None:
        self._server, self._name, self._waits = server, _UNFIT.sub("-", name), waits
        self._client: Any = None  # Redis and RedisCluster share their commands, and no base class
        self._sentinel: client.Sentinel | None = None
        self._descriptor = -1

    async def open(self) -> None:
        """Connect anew."""
        await self.close()
        async with self._translated(""):
            self._client = self._made()
            await self._client.ping()

    async def make_group(self, stream: str, group: str) -> None:
        """Make the group, which begins at the oldest entry, and the stream."""
        async with self._translated(stream):
            try:
                await self._client.xgroup_create(stream, group, id="0", mkstream=True)
            except exceptions.ResponseError as error:
                if not str(error).startswith("BUSYGROUP"):
                    raise

    async def read(self, stream: str, group: str, consumer: str, after: str, *, count: int) -> Found:
        """Entries of *consumer* after that id; ``>``: new ones, waiting for them."""
        block = int(self._waits * 1000) if after == ">" else None
        async with self._translated(stream):
            found = await self._client.xreadgroup(group, consumer, {stream: after}, count=count, block=block)
        return found[0][1] if found else []

    async def claim(self, stream: str, group: str, consumer: str, *, idle: float, count: int) -> Found:
        """Take over entries that others of the group have held for *idle* seconds, oldest first."""
        async with self._translated(stream):
            _, found, *_ = await self._client.xautoclaim(
                stream, group, consumer, min_idle_time=int(idle * 1000), count=count
            )
        return found  # type: ignore[no-any-return]  # of a client whose type is Any

    async def acknowledge(self, stream: str, group: str, ids: Sequence[str]) -> None:
        async with self._translated(stream):
            await self._client.xack(stream, group, *ids)

    async def add_all(self, entries: Sequence[Entry]) -> list[BusError | None]:
        """Append entries in their order; answers why each was refused, None of one that is stored."""
        async with self._translated(entries[0].stream):
            pipeline = self._client.pipeline() if self._server.cluster else self._client.pipeline(transaction=False)
            for stream, fields, most, oldest in entries:
                limits: dict[str, Any] = {"maxlen": most} if most else {"minid": oldest} if oldest else {}
                pipeline.xadd(stream, dict(fields), approximate=True, **limits)
            answers = await pipeline.execute(raise_on_error=False)
        return [self._refusal(entry, answer) for entry, answer in zip(entries, answers, strict=True)]

    def _refusal(self, entry: Entry, answer: object) -> BusError | None:
        if not isinstance(answer, Exception):
            return None
        if isinstance(answer, exceptions.AuthenticationError | exceptions.NoPermissionError):
            return AuthFailed(f"{self._server.where} refused: {answer}", hint="check redisUsername and redisPassword")
        if str(answer).startswith("WRONGTYPE"):
            return Missing(f"key {entry.stream} at {self._server.where} is no stream")
        if str(answer).startswith("OOM"):
            return BusFull(f"{self._server.where} is full: {answer}")
        return Unreachable(f"{self._server.where}: {answer}")

    async def ping(self) -> None:
        """Raise what is wrong with the connection."""
        async with self._translated(""):
            await self._client.ping()

    async def close(self) -> None:
        for one in (self._client, *(self._sentinel.sentinels if self._sentinel else ())):
            if one is not None:
                with contextlib.suppress(exceptions.RedisError, OSError):
                    await one.aclose()
        self._client = self._sentinel = None
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _made(self) -> Any:
        server = self._server
        common: dict[str, Any] = {
            "username": server.user or None,
            "password": server.password or None,
            "socket_connect_timeout": server.dial,
            "socket_timeout": server.read + self._waits,
            "ssl": server.tls,
            "client_name": self._name,
            "protocol": 2,
            **(self._secured() if server.tls else {}),
        }
        once = Retry(NoBackoff(), 0)  # the caller tries again, and says why
        if server.cluster:
            nodes = [ClusterNode(host, port) for host, port in server.hosts]
            return client.RedisCluster(startup_nodes=nodes, **common)
        if server.master:
            known = {name: common[name] for name in ("socket_connect_timeout", "socket_timeout")}
            known |= {"username": server.sentinel_user or None, "password": server.sentinel_password or None}
            self._sentinel = client.Sentinel(server.hosts, sentinel_kwargs=known)  # type: ignore[no-untyped-call] # redis-py's own gap
            return self._sentinel.master_for(server.master, db=server.db, retry=once, **common)
        host, port = server.hosts[0]
        return client.Redis(host=host, port=port, db=server.db, retry=once, **common)

    def _secured(self) -> dict[str, Any]:
        found: dict[str, Any] = {"ssl_ca_data": self._server.ca or None, "ssl_check_hostname": True}
        if self._server.cert:  # redis-py takes a path: one of memory, that never reaches a disk
            self._descriptor = os.memfd_create("pem", os.MFD_CLOEXEC)
            os.write(self._descriptor, f"{self._server.cert.rstrip()}\n{self._server.key}".encode())
            found["ssl_certfile"] = found["ssl_keyfile"] = f"/proc/self/fd/{self._descriptor}"
        return found

    @asynccontextmanager
    async def _translated(self, stream: str) -> AsyncIterator[None]:
        where, hint = self._server.where, "check redisUsername and redisPassword"
        if self._client is None and stream:
            raise Unreachable(f"{where} is not connected")
        try:
            yield
            if (task := asyncio.current_task()) is not None and task.cancelling():
                # redis writes under asyncio.wait_for, which up to Python 3.11 swallows a cancellation that comes
                # together with the result (python/cpython#86296)
                raise asyncio.CancelledError
        except (exceptions.AuthenticationError, exceptions.NoPermissionError) as error:
            raise AuthFailed(f"{where} refused: {error}", hint=hint) from error
        except exceptions.ResponseError as error:
            if str(error).startswith(_REFUSED):
                raise AuthFailed(f"{where} refused: {error}", hint=hint) from error
            if str(error).startswith("WRONGTYPE"):
                raise Missing(f"key {stream} at {where} is no stream") from error
            raise Unreachable(f"{where}: {error}") from error
        except (exceptions.RedisError, exceptions.RedisClusterException, OSError, TimeoutError) as error:
            raise await self._cause() or Unreachable(f"{where}: {error}") from error

    async def _cause(self) -> BusError | None:
        server = self._server
        return await diagnose("redis", {"brokers": server.where, "tls": str(server.tls).lower(), "caCert": server.ca})
