"""One request to one replica: pick it, hold the request while there is none, pass bytes both ways.

A request is sent again, to another replica, only when it is known not to have started.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from api.meta import Key
from api.model import Route
from gateway.agent import GatewayAgent
from gateway.connection import Request
from gateway.errors import ClientGone, Rejected, later
from gateway.headers import forwarded, from_client, from_function
from gateway.limits import Limits, admit
from gateway.reply import Reply
from gateway.routes import Found, not_found
from gateway.traffic import Traffic
from replicas.backends import choose
from replicas.body import Body
from replicas.errors import ConnectFailed, ReplicaError, ReplyTimeout
from replicas.http import HttpClient, Response
from replicas.table import Lease, ReplicaTable
from replicas.traffic import RevisionTraffic

WHOLE = 64 << 10
"""A body up to this length is read before a replica is picked, so that it may be sent to another one."""
NO_ROOM = 0.05
"""Seconds for which a replica that said it has no room is left alone."""
NOT_STARTED = b"evoke-not-started"


class Once:
    """A streamed body, and whether any of it left: then it cannot be sent again."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self.touched = False

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._iterate()

    async def _iterate(self) -> AsyncIterator[bytes]:
        self.touched = True
        while data := await self._body.chunk():
            yield data


class Forwarder:
    """Carries requests to functions."""

    def __init__(
        self,
        client: HttpClient,
        table: ReplicaTable,
        traffic: Traffic,
        agent: GatewayAgent,
        limits: Limits,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._client, self._table, self._traffic, self._agent = client, table, traffic, agent
        self._limits, self._draw = limits, draw
        self._clock = time.perf_counter  # the loop's own clock may tick in milliseconds only

    async def forward(self, request: Request, reply: Reply, found: Found, request_id: bytes) -> None:
        """Answer *request* with what the function says; raises Rejected when it says nothing."""
        function = self._traffic.function(found.route.key)
        refusal = admit(active=function.active, waiting=function.waiting, queue=found.route.queue, limits=self._limits)
        began, status = self._clock(), 0
        function.active += 1
        try:
            if refusal is not None:
                raise refusal
            await self._exchange(request, reply, found, request_id)
            status = reply.status
        except Rejected as rejected:
            status = rejected.status
            raise
        finally:
            function.active -= 1
            function.finish(status, self._clock() - began)

    async def _exchange(self, request: Request, reply: Reply, found: Found, request_id: bytes) -> None:
        hold_until = self._clock() + self._limits.hold.total_seconds()
        headers, forged = from_client(request.head.headers)
        self._traffic.forged += forged
        headers += forwarded(request.peer, request.head.host, request_id)
        body = await _whole_or_stream(request)
        first = True
        while True:
            lease = await self._lease(found.route.key, hold_until, reply, first=first)
            first = False
            try:
                if await self._run(lease, found, request, reply, headers, body):
                    return
            finally:
                lease.release()
            if isinstance(body, Once) and body.touched:
                raise later(503, "no-room", "the replica had no room, and the body cannot be sent again")

    async def _run(
        self,
        lease: Lease,
        found: Found,
        request: Request,
        reply: Reply,
        headers: list[tuple[bytes, bytes]],
        body: bytes | Once,
    ) -> bool:
        """Carry the request to a replica and its reply back; False: it did not start there.

        A rejection and a 5xx are failures, a client that left is neither.
        """
        revision = self._traffic.revision(lease.revision)
        began, failed, started = self._clock(), False, True
        revision.in_flight += 1
        if revision.in_flight == 1:
            self._agent.touch()
        try:
            response = await self._send(lease, found, request, headers, body)
            started = response is not None
            if response is not None:
                await _pass_on(response, reply)
                failed = reply.status >= 500
        except Rejected:
            failed = True
            raise
        finally:
            revision.in_flight -= 1
            if started:
                revision.finish(self._clock() - began, failed=failed)
            if not revision.in_flight:
                self._agent.touch()
        return started

    async def _send(
        self,
        lease: Lease,
        found: Found,
        request: Request,
        headers: list[tuple[bytes, bytes]],
        body: bytes | Once,
    ) -> Response | None:
        """The reply's head; None: the replica did not start the request."""
        target = found.path.encode("ascii") + request.head.query
        sent = body if isinstance(body, bytes) else aiter(body)
        seconds = found.route.timeout.total_seconds()
        try:
            response = await self._client.request(
                lease.endpoint.address, request.head.method, target, headers, sent, timeout=seconds
            )
        except ConnectFailed:
            self._table.strike(lease.endpoint.replica)
            return None
        except ReplyTimeout:
            raise Rejected(504, "timeout", f"the function did not answer within {seconds:g} s") from None
        except ReplicaError as error:
            raise Rejected(502, "broken-reply", str(error)) from error
        if response.status == 503 and response.header(NOT_STARTED) is not None:
            await response.close()
            self._table.strike(lease.endpoint.replica, NO_ROOM)
            return None
        return response

    async def _lease(self, key: Key, hold_until: float, reply: Reply, *, first: bool) -> Lease:
        """Credit on a replica of the function, waiting for one until *hold_until*; raises Rejected."""
        began: float | None = None
        while True:
            route = self._agent.router.route(key)
            if route is None:
                raise not_found()
            backend = choose(route.backends, self._draw())
            if backend is None:
                raise later(503, "not-ready", "no revision of the function has been ready yet", seconds=2)
            revision = self._traffic.revision(backend.revision)
            revision.arrived += first
            first = False
            if lease := self._table.take(backend.revision):
                return lease
            remaining = hold_until - self._clock()
            if remaining <= 0:
                raise Rejected(504, "no-replica", f"no replica within {self._limits.hold.total_seconds():g} s")
            with self._waiting(route, revision):
                if self._agent.holding(backend.revision) and began is None:
                    began = self._clock()
                held = await self._table.acquire(backend.revision, remaining)
            if held is not None:
                self._note_start(held, began, reply)
                return held

    @contextmanager
    def _waiting(self, route: Route, revision: RevisionTraffic) -> Iterator[None]:
        function = self._traffic.function(route.key)
        function.waiting += 1
        revision.waiting += 1
        try:
            yield
        finally:
            function.waiting -= 1
            revision.waiting -= 1
            self._agent.touch()

    def _note_start(self, lease: Lease, began: float | None, reply: Reply) -> None:
        if began is None:
            return
        seconds = self._clock() - began
        reply.extra.append((b"x-evoke-cold-start-ms", b"%d" % round(seconds * 1000)))
        self._traffic.function(lease.revision.function_key).cold.observe(seconds)
        self._agent.started(lease.revision, round(seconds * 1000))


async def _whole_or_stream(request: Request) -> bytes | Once:
    if request.body is None:
        return b""
    length = request.head.length
    if length is None or length > WHOLE:
        return Once(request.body)
    parts = []
    while data := await request.body.chunk():
        parts.append(data)
    return b"".join(parts)


async def _pass_on(response: Response, reply: Reply) -> None:
    """Pass a reply on as it comes; one that breaks off ends the client's connection too, not to be taken for whole."""
    body = response.body
    try:
        reply.start(response.status, from_function(response.headers))
        if body.waiting:
            reply.flush()
        while data := await body.chunk():
            if body.exhausted:
                reply.end(data)
                return
            await reply.write(data)
        reply.end()
    except ReplicaError as error:
        raise ClientGone from error
    finally:
        await response.close()
