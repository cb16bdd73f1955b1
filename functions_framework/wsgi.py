"""An App behind the WSGI interface: what Google's ``create_app`` returns, for gunicorn and for tests."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from functions_framework.app import App
from functions_framework.exceptions import LoadError, MissingTargetException
from functions_framework.loader import load
from functions_framework.message import Reply, Request
from functions_framework.server import MAX_BODY


class WsgiApp:
    """WSGI application; its handlers run on a loop of its own, in a thread that starts with the first request."""

    def __init__(self, app: App) -> None:
        self.app = app
        self._loop: asyncio.AbstractEventLoop | None = None
        self._lock = threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer one request."""
        from werkzeug.http import HTTP_STATUS_CODES

        request = _request(environ)
        reply = Reply(413) if len(request.body) > MAX_BODY else self._run(self.app.handle(request))
        headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in reply.headers]
        status = f"{reply.status} {HTTP_STATUS_CODES.get(reply.status, 'Unknown')}"
        if isinstance(reply.body, bytes):
            start_response(status, [*headers, ("content-length", str(len(reply.body)))])
            return [] if request.method == "HEAD" else [reply.body]
        start_response(status, headers)
        return self._drawn(reply.body)

    def test_client(self) -> Any:
        """Client for tests, as flask's applications have it."""
        from werkzeug.test import Client

        return Client(self)

    def close(self) -> None:
        """End the loop."""
        if self._loop is not None:
            self._run(self.app.stop())
            self._loop.call_soon_threadsafe(self._loop.stop)

    def _drawn(self, body: Any) -> Iterator[bytes]:
        while True:
            try:
                yield self._run(anext(body))
            except StopAsyncIteration:
                return

    def _run(self, work: Any) -> Any:
        async def awaited() -> Any:
            return await work

        return asyncio.run_coroutine_threadsafe(awaited(), self._running()).result()

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                loop = asyncio.new_event_loop()
                threading.Thread(target=_serve, args=(loop,), daemon=True, name="functions-framework").start()
                loop.call_soon_threadsafe(self.app.start)
                self._loop = loop
            return self._loop


def create_app(target: str | None = None, source: str | None = None, signature_type: str = "http") -> WsgiApp:
    """WSGI application of one target.

    Raises:
        LoadError: one of Google's exceptions, or the error that the import raised.
    """
    return WsgiApp(load_app(target, source, signature_type))


def load_app(target: str | None, source: str | None, signature_type: str) -> App:
    """App of a target, with the environment's settings for what is not given."""
    name = target or os.environ.get("FUNCTION_TARGET", "")
    if not name:
        raise MissingTargetException("Target is not specified (FUNCTION_TARGET environment variable not set)")
    path = source or os.environ.get("FUNCTION_SOURCE") or "./main.py"
    kind = os.environ.get("FUNCTION_SIGNATURE_TYPE") or signature_type
    try:
        return App(load(path, name, signature=kind))
    except LoadError as error:
        if type(error) is LoadError and error.__cause__ is not None:
            raise error.__cause__ from None
        raise


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    loop.run_forever()
    loop.close()


def _request(environ: dict[str, Any]) -> Request:
    length = environ.get("CONTENT_LENGTH") or ""
    if environ.get("wsgi.input_terminated"):
        body = environ["wsgi.input"].read(MAX_BODY + 1)
    else:
        body = environ["wsgi.input"].read(min(int(length), MAX_BODY + 1)) if length.isdigit() else b""
    headers = [
        (name[5:].replace("_", "-").lower().encode("latin-1"), str(value).encode("latin-1"))
        for name, value in environ.items()
        if name.startswith("HTTP_")
    ]
    if environ.get("CONTENT_TYPE"):
        headers.append((b"content-type", environ["CONTENT_TYPE"].encode("latin-1")))
    return Request(
        environ["REQUEST_METHOD"],
        environ.get("PATH_INFO", "/").encode("latin-1").decode("utf-8", "replace") or "/",
        headers,
        body,
        query=environ.get("QUERY_STRING", "").encode("latin-1"),
        client=environ.get("REMOTE_ADDR", ""),
        secure=environ.get("wsgi.url_scheme") == "https",
    )
