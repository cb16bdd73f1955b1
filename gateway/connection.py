"""One client connection: bytes to requests, in order, with the limits on size and time of what a client sends."""

from __future__ import annotations

import asyncio
import enum
import logging
from collections.abc import Awaitable, Callable
from typing import cast

from gateway.errors import BadRequest, ClientGone, Rejected
from gateway.http1 import Chunks, Head, check_start, parse_head
from gateway.limits import Limits
from gateway.reply import Reply
from replicas.body import Body

log = logging.getLogger(__name__)

PIPELINED = 64 << 10
"""Bytes of following requests kept while one is answered."""
LINGER = 1.0
"""Seconds for which the rest of a refused request is read and dropped, so that the client sees the answer."""


class Request:
    """One request; *body* is None when there is none."""

    __slots__ = ("body", "head", "peer")

    def __init__(self, head: Head, body: Body | None, peer: bytes) -> None:
        self.head = head
        self.body = body
        self.peer = peer


Handler = Callable[[Request, Reply], Awaitable[None]]


class State(enum.Enum):
    HEAD = enum.auto()
    BODY = enum.auto()
    ANSWER = enum.auto()
    """The request is complete, its reply is not."""
    LINGER = enum.auto()


class Connection(asyncio.Protocol):
    """Reads requests, runs *handler* for each, one at a time."""

    def __init__(self, handler: Handler, limits: Limits, closed: Callable[[Connection], None]) -> None:
        self._handler, self._limits, self._closed = handler, limits, closed
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._peer = b""
        self._buffer = bytearray()
        self._state = State.HEAD
        self._since = self._loop.time()
        self._received = 0
        self._body: Body | None = None
        self._chunks: Chunks | None = None
        self._left = 0
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._paused = False

    @property
    def busy(self) -> bool:
        return self._task is not None

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    def check(self, now: float) -> None:
        """Enforce the time limits; called every second or so."""
        age = now - self._since
        limits = self._limits
        if self._state is State.HEAD:
            if not self._buffer and age > limits.idle_time.total_seconds():
                self.close()
            elif self._buffer and age > limits.head_time.total_seconds():
                self._refuse(BadRequest(408, "the request's head did not come in time"))
        elif self._state is State.BODY and age > limits.body_time.total_seconds():
            if self._received < limits.body_floor and not self._paused:
                self._stop_body(BadRequest(408, "the request's body did not come in time"))
            self._since, self._received = now, 0
        elif self._state is State.LINGER and age > LINGER and self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self._peer = str(peer[0]).encode() if isinstance(peer, tuple) else b"unix"

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - the reason changes nothing
        self._transport = None
        self.resume_writing()
        if self._body is not None:
            self._body.fail(ClientGone())
        if self._task is not None:
            self._task.cancel()
        self._closed(self)

    def data_received(self, data: bytes) -> None:
        if self._state is State.BODY:
            self._received += len(data)
            self._take_body(data)
        elif self._state is State.HEAD:
            if not self._buffer:
                self._since = self._loop.time()
            self._buffer += data
            self._take_head()
        elif self._state is State.ANSWER:
            self._buffer += data
            if len(self._buffer) > PIPELINED:
                self._pause()

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # Sink, for Reply

    def write(self, data: bytes) -> None:
        if self._transport is None:
            raise ClientGone
        self._transport.write(data)

    async def drained(self) -> None:
        if self._writable is not None:
            await self._writable

    def finished(self, *, keep: bool) -> None:
        """Go on to the next request, or close: at once when all was read, else after what still comes is dropped."""
        self._task = None
        if self._transport is None:
            return
        if self._state is State.ANSWER and keep:
            self._state, self._since, self._body = State.HEAD, self._loop.time(), None
            self._resume()
            if self._buffer:
                self._loop.call_soon(self._take_head)
        elif self._state is State.ANSWER:
            self._transport.close()
        else:
            self._linger()

    # requests

    def _take_head(self) -> None:
        if self._state is not State.HEAD or self._transport is None:
            return
        end = self._buffer.find(b"\r\n\r\n")
        try:
            if end < 0:
                while self._buffer.startswith(b"\r\n"):  # RFC 9112 2.2: an empty line before a request is skipped
                    del self._buffer[:2]
                check_start(self._buffer)
                return
            head = parse_head(bytes(self._buffer[:end]).removeprefix(b"\r\n"))
            self._check(head)
        except Rejected as rejected:
            self._refuse(rejected)
            return
        rest = bytes(self._buffer[end + 4 :])
        self._buffer.clear()
        self._begin(head, rest)

    def _check(self, head: Head) -> None:
        if head.length is not None and head.length > self._limits.body:
            raise BadRequest(413, f"the body has more than {self._limits.body} bytes")
        if head.header(b"upgrade") is not None:
            websocket = (head.header(b"upgrade") or b"").lower() == b"websocket"
            raise BadRequest(501 if websocket else 400, "upgrades, WebSocket among them, are not supported yet")
        expect = head.header(b"expect")
        if expect is not None and expect.lower() != b"100-continue":
            raise BadRequest(417, "the only expectation known is 100-continue")
        if expect is not None and head.length != 0 and not head.old:
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def _begin(self, head: Head, rest: bytes) -> None:
        reply = Reply(self, head_only=head.method == "HEAD", old=head.old, keep=head.keep_alive)
        if head.length == 0:
            self._state, self._body = State.ANSWER, None
            self._buffer += rest
        else:
            self._state, self._since, self._received = State.BODY, self._loop.time(), len(rest)
            self._body = Body(self._pause, self._resume)
            self._chunks = Chunks() if head.length is None else None
            self._left = self._limits.body if head.length is None else head.length
            if rest:
                self._take_body(rest)
        self._task = self._loop.create_task(self._run(Request(head, self._body, self._peer), reply))

    def _take_body(self, data: bytes) -> None:
        assert self._body is not None
        if self._chunks is None:
            piece, rest = data[: self._left], data[self._left :]
            pieces, ended = [piece], len(piece) == self._left
        else:
            try:
                pieces, rest = self._chunks.feed(data)
            except BadRequest as bad:
                self._stop_body(bad)
                return
            ended = self._chunks.ended
        for piece in pieces:
            self._left -= len(piece)
            if self._left < 0:
                self._stop_body(BadRequest(413, f"the body has more than {self._limits.body} bytes"))
                return
            self._body.feed(piece)
        if ended:
            self._body.end()
            self._state = State.ANSWER
            self._buffer += rest

    def _stop_body(self, rejected: BadRequest) -> None:
        """The rest of the body will not be read; whoever reads it gets *rejected*."""
        assert self._body is not None
        self._body.fail(rejected)
        self._state = State.LINGER
        self._since = self._loop.time() + self._limits.body_time.total_seconds()  # finished() sets the real one

    def _refuse(self, rejected: Rejected) -> None:
        self._buffer.clear()
        self._state = State.LINGER
        Reply(self, head_only=False, old=False, keep=False).reject(rejected)

    def _linger(self) -> None:
        self._state, self._since = State.LINGER, self._loop.time()
        self._buffer.clear()
        self._resume()
        if self._transport is not None and self._transport.can_write_eof():
            self._transport.write_eof()

    async def _run(self, request: Request, reply: Reply) -> None:
        try:
            await self._handler(request, reply)
        except Rejected as rejected:
            if not reply.started:
                reply.reject(rejected, keep=not isinstance(rejected, BadRequest))
        except (ClientGone, asyncio.CancelledError):
            pass
        except Exception:
            log.exception("a request failed inside the gateway")
            if not reply.started:
                reply.reject(Rejected(500, "internal", "the gateway failed; its log has the reason"), keep=False)
        finally:
            if not reply.ended and self._transport is not None:
                self._transport.abort()  # a reply that cannot be finished must not look finished

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
