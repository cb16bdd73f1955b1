"""One HTTP/1.1 connection: httptools parses, an answering coroutine replies, one request at a time in order."""

from __future__ import annotations

import asyncio
import http
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from urllib.parse import unquote

import httptools

from functions_framework.message import Reply, Request, text_reply

MAX_HEADERS = 64 * 1024
MAX_HEADER_COUNT = 256
MAX_PIPELINED = 32
LINGER = 1.0
"""Seconds in which a refused peer may read its answer."""

Answer = Callable[[Request], Awaitable[Reply]]

_STATUS = {s.value: f"HTTP/1.1 {s.value} {s.phrase}\r\n".encode() for s in http.HTTPStatus}


class Settings:
    """What a connection may cost; shared by all of a server."""

    __slots__ = ("answer", "connections", "max_body", "tasks")

    def __init__(self, answer: Answer, max_body: int) -> None:
        self.answer = answer
        self.max_body = max_body
        self.connections: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()


class Connection(asyncio.Protocol):
    """Parses requests of one peer and writes the replies."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: Any = None
        self._client = ""
        self._waiting: deque[tuple[Request, bool, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._body: list[bytes] = []
        self._refused: Reply | None = None
        self.since = time.monotonic()
        """Start of the request that is being received, 0: none is."""
        self._reset()

    @property
    def idle(self) -> bool:
        """Whether nothing is received or answered."""
        return self._task is None and not self._waiting

    def _reset(self) -> None:
        self._url = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_size = 0
        self._hosts = 0
        self._body = []
        self._size = 0
        self._refused = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the peer."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self._client = str(peer[0]) if isinstance(peer, tuple) and peer else ""
        self._settings.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop answering a peer that has gone; what already runs goes on to its end."""
        self._settings.connections.discard(self)
        self._waiting.clear()
        self._parser = None
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(exc or ConnectionResetError("the peer has gone"))

    def data_received(self, data: bytes) -> None:
        """Parse; any error of the peer's ends the connection with one answer."""
        if self._parser is None:
            return
        if not self.since:
            self.since = time.monotonic()
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._refuse(self._refused or text_reply(f"bad request: {error}", 400))

    def on_url(self, url: bytes) -> None:
        """Collect the target."""
        self._url += url
        if len(self._url) > MAX_HEADERS:
            self._stop(text_reply("the target is too long", 414))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header."""
        name = name.lower()
        self._header_size += len(name) + len(value)
        if name == b"host":
            self._hosts += 1
        if self._header_size > MAX_HEADERS or len(self._headers) >= MAX_HEADER_COUNT:
            self._stop(text_reply("the headers are too large", 431))
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Check what must be known before the body is taken."""
        if self._hosts != 1 and self._parser.get_http_version() == "1.1":
            self._stop(text_reply("a request has exactly one Host", 400))
        if self._parser.should_upgrade():
            self._stop(text_reply("this server speaks HTTP/1.1 only", 400))
        for name, value in self._headers:
            if name == b"content-length" and int(value or 0) > self._settings.max_body:
                self._stop(self._too_large())
            elif name == b"expect" and value.lower() == b"100-continue":
                self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body up to the limit."""
        self._size += len(body)
        if self._size > self._settings.max_body:
            self._stop(self._too_large())
        self._body.append(body)

    def on_message_complete(self) -> None:
        """Answer the request, or let it wait for the one before it."""
        path, _, query = self._url.partition(b"?")
        if path[:4].lower() == b"http":
            path = b"/" + path.partition(b"://")[2].partition(b"/")[2]
        decoded = unquote(path.decode("latin-1")) if b"%" in path else path.decode("latin-1")
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        request = Request(
            self._parser.get_method().decode("latin-1"),
            decoded,
            self._headers,
            body,
            query=query,
            raw_path=path,
            client=self._client,
        )
        keep = self._parser.should_keep_alive()
        chunked = self._parser.get_http_version() == "1.1"
        self._reset()
        self.since = 0.0
        self._waiting.append((request, keep, chunked))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._answer())
            self._settings.tasks.add(self._task)
            self._task.add_done_callback(self._settings.tasks.discard)
        elif len(self._waiting) > MAX_PIPELINED:
            self._stop(text_reply("too many requests at once on one connection", 429))

    async def _answer(self) -> None:
        try:
            while self._waiting:
                request, keep, chunked = self._waiting.popleft()
                reply = await self._settings.answer(request)
                if self._transport.is_closing():
                    await _discard(reply)
                    continue
                keep = keep and not reply.close
                await self._write(reply, head_only=request.method == "HEAD", keep=keep, chunked=chunked)
                if not keep:
                    self._transport.close()
                    return
        except ConnectionError:
            self._transport.abort()
        finally:
            self._task = None

    async def _write(self, reply: Reply, *, head_only: bool, keep: bool, chunked: bool) -> None:
        bare = head_only or reply.status in {204, 304}
        head = [_STATUS.get(reply.status) or b"HTTP/1.1 %d \r\n" % reply.status]
        head += [name + b": " + _clean(value) + b"\r\n" for name, value in reply.headers]
        whole = isinstance(reply.body, bytes)
        if whole and reply.status not in {204, 304}:
            head.append(b"content-length: %d\r\n" % len(reply.body))  # type: ignore[arg-type]  # whole: it is bytes
        stream = not whole and chunked and not bare
        if stream:
            head.append(b"transfer-encoding: chunked\r\n")
        elif not whole and not bare:
            keep = False
        if not keep:
            head.append(b"connection: close\r\n")
            reply.close = True
        head.append(b"\r\n")
        if isinstance(reply.body, bytes):
            self._transport.write(b"".join(head) + (b"" if bare else reply.body))
            return
        self._transport.write(b"".join(head))
        await (_discard(reply) if bare else self._stream(reply.body, chunked=stream))

    async def _stream(self, body: AsyncIterator[bytes], *, chunked: bool) -> None:
        """Write a stream; if it breaks off, so does the connection, for a whole end would be a lie."""
        try:
            async for chunk in body:
                if not chunk:
                    continue
                self._transport.write(b"%x\r\n%b\r\n" % (len(chunk), chunk) if chunked else chunk)
                if self._writable is not None:
                    await self._writable
                if self._transport.is_closing():
                    raise ConnectionResetError("the peer has gone")
        except Exception as error:
            await _close(body)
            raise ConnectionAbortedError(f"the stream broke off: {error}") from error
        self._transport.write(b"0\r\n\r\n" if chunked else b"")
        if not chunked:
            self._transport.close()

    def pause_writing(self) -> None:
        """Make the stream wait for a slow peer."""
        self._writable = asyncio.get_running_loop().create_future()

    def resume_writing(self) -> None:
        """Let the stream go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None

    def expire(self) -> None:
        """Give up a request that does not arrive."""
        self._refuse(text_reply("the request did not arrive in time", 408))

    def close(self) -> None:
        """Close an idle connection."""
        if self._transport is not None:
            self._transport.close()

    def _too_large(self) -> Reply:
        return text_reply(f"the body is larger than {self._settings.max_body} bytes", 413)

    def _stop(self, reply: Reply) -> None:
        """Leave the parser from within one of its callbacks."""
        self._refused = reply
        raise ValueError

    def _refuse(self, reply: Reply) -> None:
        """Answer what was asked before, then *reply*, then close."""
        self._parser = None
        self.since = 0.0
        reply.close = True

        async def last() -> None:
            if self._task is not None:
                await asyncio.wait([self._task])
            if not self._transport.is_closing():
                await self._write(reply, head_only=False, keep=False, chunked=False)
                self._linger()

        task = asyncio.get_running_loop().create_task(last())
        self._settings.tasks.add(task)
        task.add_done_callback(self._settings.tasks.discard)

    def _linger(self) -> None:
        """Close, but read on for a moment: a reset over unread input would take the answer away from the peer."""
        if self._transport.can_write_eof():
            self._transport.write_eof()
            asyncio.get_running_loop().call_later(LINGER, self._transport.abort)
        else:
            self._transport.close()


def _clean(value: bytes) -> bytes:
    """Header value that cannot begin another header."""
    return value.replace(b"\r", b" ").replace(b"\n", b" ") if b"\n" in value or b"\r" in value else value


async def _close(body: Any) -> None:
    closing = getattr(body, "aclose", None)
    if closing is not None:
        await closing()


async def _discard(reply: Reply) -> None:
    """Close a stream that nobody reads, so that its handler's place becomes free."""
    if not isinstance(reply.body, bytes):
        await _close(reply.body)
