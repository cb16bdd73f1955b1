"""One keep-alive HTTP/1.1 connection to a replica: bytes to requests and replies, with httptools' parser.

What it must tell apart is whether a request can have started: see errors.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import cast

import httptools

from replicas.body import Body
from replicas.errors import BrokenReply, ConnectFailed, ReplicaError, ReplyTimeout
from replicas.response import Response

HEAD_LIMIT = 64 << 10
"""Bytes of a reply's header lines."""
ONE_READ = 32 << 10
"""A request of this size is read by its server in one go, or not at all."""


class Connection(asyncio.Protocol):
    """Carries one exchange at a time; *done* gets the connection back when it may be used again."""

    def __init__(self, done: Callable[[Connection], None], *, local: bool) -> None:
        self._done, self._local = done, local
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._head: asyncio.Future[Response] | None = None
        self._response: Response | None = None
        self._headers: list[tuple[bytes, bytes]] = []
        self._head_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._sender: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._busy = False
        self._bodiless = False
        self._framed = False
        self._small = False
        self._paused = False
        self.idle_since = 0.0

    @property
    def open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        """Drop the connection, whatever it carries."""
        if self._transport is not None:
            self._transport.abort()

    async def send(
        self, head: bytes, body: bytes | AsyncIterator[bytes], *, chunked: bool, bodiless: bool, deadline: float | None
    ) -> Response:
        """Write a request and return its reply once the header lines are there.

        *deadline* (loop time) ends the whole exchange, the reply's body included.
        """
        if self._transport is None:
            raise ConnectFailed("the connection closed")
        self._busy, self._bodiless, self._framed = True, bodiless, False
        self._head_bytes = 0
        self._head = self._loop.create_future()
        if deadline is not None:
            self._timer = self._loop.call_at(deadline, self._expire)
        if isinstance(body, bytes):
            self._small = len(head) + len(body) <= ONE_READ
            self._transport.write(head + body)
        else:
            self._small = False
            self._transport.write(head)
            self._sender = self._loop.create_task(self._stream(body, chunked=chunked))
        try:
            return await self._head
        except asyncio.CancelledError:
            self.close()
            raise

    async def _stream(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        try:
            async for data in body:
                if not data:
                    continue
                self._write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
                if self._writable is not None:
                    await self._writable
            if chunked:
                self._write(b"0\r\n\r\n")
        except Exception as error:  # whatever ends the source of the body ends the exchange, and is raised there
            self._fail(error)
            return
        self._sender = None
        if self._response is not None and self._response.complete:
            self._finish()

    def _write(self, data: bytes) -> None:
        if self._transport is None:
            raise BrokenReply("the replica closed the connection while the request was sent")
        self._transport.write(data)

    def _expire(self) -> None:
        self._fail(ReplyTimeout("no complete reply within the time limit"))

    def _fail(self, error: Exception) -> None:
        """End the exchange with *error* and the connection with it."""
        if self._head is not None and not self._head.done():
            self._head.set_exception(error)
        elif self._response is not None:
            self._response.body.fail(error)
        self._settle()
        self.close()

    def _settle(self) -> None:
        self._busy = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._sender is not None and self._sender is not asyncio.current_task(self._loop):
            self._sender.cancel()
        self._sender = None

    def _finish(self) -> None:
        """The exchange is over on both sides."""
        keep = self._parser.should_keep_alive() and self._framed
        self._settle()
        self._head = self._response = None
        if self._bodiless:  # the parser still waits for the body that a reply to HEAD announces
            self._parser = httptools.HttpResponseParser(self)
        if keep and self.open:
            self._resume()  # the reply's reader may never take what made it pause
            self._done(self)
        else:
            self.close()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self.resume_writing()
        if not self._busy:
            return
        if self._response is not None and not self._framed and exc is None:
            self._response.body.end()  # a reply without length ends with its connection
            self._settle()
            return
        self._fail(self._classify(exc))

    def _classify(self, exc: Exception | None) -> ReplicaError:
        """Tell whether the request may have started.

        On a Unix socket a server that closes with the request unread resets the connection (unix(7)), while one that
        read it and died ends it; a request that one read takes whole is therefore known not to have started.
        """
        reset = isinstance(exc, ConnectionResetError | BrokenPipeError)
        if reset and self._local and self._small and self._response is None:
            return ConnectFailed("the replica closed before it read the request")
        return BrokenReply("the replica closed the connection before its reply was complete")

    def data_received(self, data: bytes) -> None:
        if not self._busy:
            self.close()  # nobody asked
            return
        if self._response is None:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if self._busy:
                self._fail(BrokenReply(f"the reply is not HTTP: {error}"))
        if self._busy and self._response is None and self._head_bytes > HEAD_LIMIT:
            self._fail(BrokenReply(f"the reply has more than {HEAD_LIMIT} bytes of header lines"))

    def pause_writing(self) -> None:
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    # httptools callbacks

    def on_message_begin(self) -> None:
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status < 200 or self._head is None or self._head.done():
            return  # an interim reply; the final one follows
        length = [value for name, value in self._headers if name in {b"content-length", b"transfer-encoding"}]
        self._bodiless = self._bodiless or status in {204, 304}
        self._framed = bool(length) or self._bodiless
        self._response = Response(status, self._headers, Body(self._pause, self._resume), self.close)
        self._head.set_result(self._response)
        if self._bodiless:
            self._complete()

    def on_body(self, data: bytes) -> None:
        if self._response is not None:
            self._response.body.feed(data)

    def on_message_complete(self) -> None:
        if self._response is not None and self._busy and not self._response.body.ended:
            self._framed = True
            self._complete()

    def _complete(self) -> None:
        assert self._response is not None
        self._response.body.end()
        if self._sender is None:
            self._finish()
        else:
            self._fail(BrokenReply("the replica answered before it took the whole request"))

    def _pause(self) -> None:
        if self._transport is not None and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and self._paused and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()
