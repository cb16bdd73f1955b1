"""Call ``http`` and ``typed`` handlers: a flask or werkzeug request in, whatever a view may return out.

werkzeug is imported on the first use: event handlers never pay for it.
"""

from __future__ import annotations

import asyncio
import inspect
import io
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Executor
from typing import Any

from functions_framework import decorators, logs
from functions_framework.handler import Handler
from functions_framework.invocation import Invocation, running
from functions_framework.message import TEXT, Reply, Request, text_reply
from functions_framework.views import View, view_of

log = logging.getLogger("functions_framework")

CRASH = (b"x-google-status", b"crash")
HOP_BY_HOP = frozenset({"connection", "keep-alive", "transfer-encoding", "upgrade", "te", "trailer"})


class WebCalls:
    """Calls one handler with requests."""

    def __init__(self, handler: Handler, executor: Callable[[], Executor], call: Callable[..., Any]) -> None:
        self._handler = handler
        self._is_async = handler.is_async
        self._executor = executor
        self._call = call
        """``call(request)`` or ``call(request, invocation)``: the handler behind its kind's adapter."""
        self._view: View | None = None

    @property
    def view(self) -> View:
        """How requests and responses are made here."""
        if self._view is None:
            self._view = view_of(self._handler)
        return self._view

    async def take(self, request: Request, invocation: Invocation) -> Reply:
        """Answer one request; raises nothing."""
        left = invocation.left
        try:
            if self._is_async:
                async with asyncio.timeout(left):
                    reply = await self._asynchronous(request, invocation)
            else:
                reply = await self._in_thread(request, invocation, left)
        except TimeoutError:
            reply = text_reply("the handler did not end before the deadline", 504)
        except Exception as error:  # the reply could not be made: still one answer
            log.error("%s: %s", type(error).__name__, error, exc_info=error)
            reply = crashed()
        reply.headers.append((b"function-execution-id", invocation.call.encode("latin-1", "replace")))
        return reply

    async def _in_thread(self, request: Request, invocation: Invocation, left: float | None) -> Reply:
        loop = asyncio.get_running_loop()
        thread = loop.run_in_executor(self._executor(), self._blocking, request, invocation)
        await asyncio.wait([thread], timeout=left)
        if thread.done():
            return thread.result()
        reply = text_reply("the handler did not end before the deadline and still runs", 504)
        reply.after = thread
        return reply

    async def _asynchronous(self, request: Request, invocation: Invocation) -> Reply:
        running.set(invocation)
        with self.view.scope(environ(request)) as made:
            try:
                value = self._call(made, invocation)
                if inspect.isasyncgen(value):
                    return Reply(200, encoded(value), [TEXT])
                value = await value
                if inspect.isasyncgen(value):
                    return Reply(200, encoded(value), [TEXT])
                return self._reply(self.view.respond(value))
            except Exception as error:  # user code: its error handlers answer, or 500
                return self._failed(error)
            finally:
                logs.end_of_call()

    def _blocking(self, request: Request, invocation: Invocation) -> Reply:
        running.set(invocation)
        try:
            with self.view.scope(environ(request)) as made:
                try:
                    return self._reply(self.view.respond(self._call(made, invocation)))
                except Exception as error:  # user code: its error handlers answer, or 500
                    return self._failed(error)
        except SystemExit as error:
            return self._failed(RuntimeError(f"sys.exit({error.code!r}) in a handler"))
        finally:
            logs.end_of_call()
            running.set(None)

    def _failed(self, error: Exception) -> Reply:
        from werkzeug.exceptions import HTTPException

        own = _error_handler(error)
        if own is not None:
            try:
                return self._reply(self.view.respond(own(error)))
            except Exception as second:  # an error handler that fails is one more crash
                log.error("%s: %s", type(second).__name__, second, exc_info=second)
                return crashed()
        if isinstance(error, HTTPException):
            return self._reply(error.get_response())
        log.error("%s: %s", type(error).__name__, error, exc_info=error)
        return crashed()

    def _reply(self, response: Any) -> Reply:
        headers = [
            (name.lower().encode("latin-1"), str(value).encode("latin-1", "replace"))
            for name, value in response.headers
            if name.lower() not in HOP_BY_HOP and (name.lower() != "content-length" or not response.is_streamed)
        ]
        if not response.is_streamed:
            return Reply(response.status_code, response.get_data(), [h for h in headers if h[0] != b"content-length"])
        response.direct_passthrough = False
        return Reply(response.status_code, self._pump(response.iter_encoded(), response.close), headers)

    async def _pump(self, chunks: Iterator[bytes], close: Callable[[], None]) -> AsyncIterator[bytes]:
        """Draw a blocking iterator from a thread, one chunk at a time."""
        loop = asyncio.get_running_loop()
        end = object()
        try:
            while True:
                chunk: Any = await loop.run_in_executor(self._executor(), next, chunks, end)
                if chunk is end:
                    return
                yield chunk
        finally:
            close()


def environ(request: Request) -> dict[str, Any]:
    """WSGI environment of a request."""
    lookup = request.lookup
    host, _, port = lookup.get(b"host", b"localhost").decode("latin-1").rpartition(":")
    if not host or not port.isdigit():
        host, port = lookup.get(b"host", b"localhost").decode("latin-1"), "443" if request.secure else "80"
    found: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": request.path.encode("utf-8", "surrogateescape").decode("latin-1"),
        "RAW_URI": request.raw_path.decode("latin-1"),
        "REQUEST_URI": request.raw_path.decode("latin-1"),
        "QUERY_STRING": request.query.decode("latin-1"),
        "SERVER_NAME": host,
        "SERVER_PORT": port,
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": request.client,
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "https" if request.secure else "http",
        "wsgi.input": io.BytesIO(request.body),
        "wsgi.errors": io.StringIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for raw, value in request.headers:
        name = raw.decode("latin-1").upper().replace("-", "_")
        if name == "CONTENT_LENGTH":
            continue
        name = name if name == "CONTENT_TYPE" else f"HTTP_{name}"
        text = value.decode("latin-1")
        found[name] = f"{found[name]},{text}" if name in found else text
    return found


def crashed() -> Reply:
    """Google's answer to an exception: nothing of what it says leaves the log."""
    from werkzeug.exceptions import InternalServerError

    reply = text_reply(str(InternalServerError()), 500)
    reply.headers.append(CRASH)
    return reply


async def encoded(chunks: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    """Give strings of an asynchronous generator as bytes."""
    async for chunk in chunks:
        yield chunk.encode() if isinstance(chunk, str) else chunk


def _error_handler(error: Exception) -> Callable[[Any], Any] | None:
    for kind in type(error).__mro__:
        found = decorators.error_handlers.get(kind)
        if found is not None:
            return found
    code = getattr(error, "code", None)
    return decorators.error_handlers.get(code if isinstance(code, int) else 500)
