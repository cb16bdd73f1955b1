"""HTTP/1.1 client for replicas, over Unix sockets or TCP, with kept connections per address.

Made for many small requests: one write per request, one timer, no task and no stream object. A request is sent once;
whether it may be sent again is the caller's decision, by the class of the error.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence

from replicas.errors import ConnectFailed, ReplyTimeout
from replicas.http_connection import Connection
from replicas.response import Response

__all__ = ["HttpClient", "Response"]

Headers = Sequence[tuple[bytes, bytes]]
Denied = Callable[[str], str]
"""IP address -> why nothing is sent there; empty: it may be."""

IDLE = 2.0
"""Seconds for which an idle connection is kept: less than servers keep theirs, so that the two never cross."""
IDLE_LIMIT = 256
"""Idle connections kept per address."""
WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class HttpClient:
    """One per process and event loop; aclose() ends it."""

    def __init__(
        self, *, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context, denied: Denied | None = None
    ) -> None:
        """*tls* makes the context of ``tls:`` addresses, once, when the first is asked for; *denied* judges the
        address that a host resolves to, and that very address is connected to."""
        self._make_tls, self._denied = tls, denied
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[str, deque[Connection]] = {}
        self._sweeper: asyncio.TimerHandle | None = None

    def beside(self, *, tls: Callable[[], ssl.SSLContext] = ssl.create_default_context) -> HttpClient:
        """Another client that judges addresses as this one does, with certificates of its own."""
        return HttpClient(tls=tls, denied=self._denied)

    async def request(
        self,
        address: str,
        method: str,
        target: bytes | str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] = b"",
        *,
        timeout: float | None,  # noqa: ASYNC109 - it goes on running while the caller reads the reply's body
    ) -> Response:
        """Send a request and return its reply once the header lines came; *timeout* seconds end the whole exchange.

        *address*: ``unix:/path``, ``host:port`` or ``tls:host:port``. *headers*: names in lower case; host and framing
        are added where missing. Raises ConnectFailed, BrokenReply, ReplyTimeout; a cancelled call closes its
        connection.
        """
        chunked = not isinstance(body, bytes) and not any(name == b"content-length" for name, _ in headers)
        head = _head(method, target, headers, len(body) if isinstance(body, bytes) else None, chunked=chunked)
        deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
        bodiless = method == "HEAD"
        if isinstance(body, bytes) and (kept := self._take(address)):
            try:
                return await kept.send(head, body, chunked=False, bodiless=bodiless, deadline=deadline)
            except ConnectFailed:
                pass  # the server closed an idle connection; a new one tells whether it still listens
        connection = await self._connect(address, deadline)
        return await connection.send(head, body, chunked=chunked, bodiless=bodiless, deadline=deadline)

    async def aclose(self) -> None:
        """Close every idle connection; those in use close as their replies end."""
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        for pool in self._idle.values():
            for connection in pool:
                connection.close()
        self._idle.clear()

    def _take(self, address: str) -> Connection | None:
        pool = self._idle.get(address)
        if not pool:
            return None
        oldest = asyncio.get_running_loop().time() - IDLE
        while pool:
            connection = pool.pop()
            if connection.open and connection.idle_since >= oldest:
                return connection
            connection.close()
        return None

    async def _connect(self, address: str, deadline: float | None) -> Connection:
        loop = asyncio.get_running_loop()
        path = address.removeprefix("unix:")
        local = address.startswith("unix:")

        def make() -> Connection:
            return Connection(lambda connection: self._keep(address, connection), local=local)

        try:
            async with asyncio.timeout_at(deadline):
                if local:
                    _, connection = await loop.create_unix_connection(make, path)
                else:
                    host, _, port = address.removeprefix("tls:").rpartition(":")
                    host = host.strip("[]")
                    where = await self._resolve(host, int(port)) if self._denied is not None else host
                    secure = self._context() if address.startswith("tls:") else None
                    named = host if secure is not None else None
                    _, connection = await loop.create_connection(
                        make, where, int(port), ssl=secure, server_hostname=named
                    )
        except TimeoutError:
            raise ReplyTimeout(f"no connection to {address} within the time limit") from None
        except OSError as error:
            raise ConnectFailed(f"cannot connect to {address}: {error}") from error
        return connection

    async def _resolve(self, host: str, port: int) -> str:
        """The first address of *host* that is not denied."""
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        reason = f"{host} has no address"
        for *_, place in found:
            reason = self._denied(str(place[0])) if self._denied is not None else ""
            if not reason:
                return str(place[0])
        raise ConnectFailed(f"{host}: {reason}")

    def _context(self) -> ssl.SSLContext:
        if self._tls is None:
            self._tls = self._make_tls()
        return self._tls

    def _keep(self, address: str, connection: Connection) -> None:
        pool = self._idle.setdefault(address, deque())
        if len(pool) >= IDLE_LIMIT:
            connection.close()
            return
        loop = asyncio.get_running_loop()
        connection.idle_since = loop.time()
        pool.append(connection)
        if self._sweeper is None:
            self._sweeper = loop.call_later(IDLE, self._sweep)

    def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        oldest = loop.time() - IDLE
        for address, pool in list(self._idle.items()):
            while pool and (pool[0].idle_since < oldest or not pool[0].open):
                pool.popleft().close()
            if not pool:
                del self._idle[address]
        self._sweeper = loop.call_later(IDLE, self._sweep) if self._idle else None


def _head(method: str, target: bytes | str, headers: Headers, length: int | None, *, chunked: bool) -> bytes:
    where = target if isinstance(target, bytes) else target.encode("ascii")
    lines = [b"%b %b HTTP/1.1" % (method.encode("ascii"), where)]
    hosted = sized = False
    for name, value in headers:
        hosted = hosted or name == b"host"
        sized = sized or name == b"content-length"
        lines.append(b"%b: %b" % (name, value))
    if not hosted:
        lines.append(b"host: localhost")
    if chunked:
        lines.append(b"transfer-encoding: chunked")
    elif not sized and length is not None and (length or method in WITH_BODY):
        lines.append(b"content-length: %d" % length)
    head = b"\r\n".join(lines)
    if head.count(b"\n") != len(lines) - 1 or head.count(b"\r") != len(lines) - 1 or b" " in where:
        raise ValueError("line break or space where a header or target may not have one")
    return head + b"\r\n\r\n"
