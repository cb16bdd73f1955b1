"""Make requests and responses as the installed web library does: flask where it is importable, else werkzeug alone."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Protocol

from functions_framework.handler import Handler


class View(Protocol):
    """What WebCalls needs of a web library."""

    def scope(self, environ: dict[str, Any]) -> AbstractContextManager[Any]:
        """Request made of a WSGI environment, and whatever must be true while it is handled."""

    def respond(self, value: Any) -> Any:
        """Response made of what a handler returned."""


def view_of(handler: Handler) -> View:
    """View for *handler*: aio.http handlers get Starlette's shape of a request, all others flask's or werkzeug's."""
    if getattr(handler.function, "__functions_framework_aio__", False):
        return AioView()
    if importlib.util.find_spec("flask") is not None:
        return FlaskView(handler.name)
    return PlainView()


class PlainView:
    """werkzeug alone, with flask's rules for return values."""

    def __init__(self) -> None:
        from werkzeug.wrappers import Request, Response

        self._request = Request
        self._response = Response

    @contextmanager
    def scope(self, environ: dict[str, Any]) -> Iterator[Any]:
        """Yield the request."""
        yield self._request(environ)

    def respond(self, value: Any) -> Any:
        """Follow flask: a response, str, bytes, dict, list, iterator, WSGI callable, or tuple of these."""
        status, headers = None, None
        if isinstance(value, tuple):
            value, status, headers = split(value)
        if value is None:
            raise TypeError("the handler returned None; it has to return a response, a string, a dict or a list")
        response = self._made(value)
        if status is not None:
            if isinstance(status, int):
                response.status_code = status
            else:
                response.status = status
        if headers:
            response.headers.update(headers)
        return response

    def _made(self, value: Any) -> Any:
        if isinstance(value, self._response):
            return value
        if isinstance(value, str | bytes | bytearray):
            return self._response(value if isinstance(value, str) else bytes(value), mimetype="text/html")
        if isinstance(value, dict | list):
            text = json.dumps(value, default=str, separators=(",", ":")) + "\n"  # as flask writes it
            return self._response(text, mimetype="application/json")
        if hasattr(value, "get_response"):
            return value.get_response()
        if hasattr(value, "__next__"):
            return self._response(value, mimetype="text/html")
        if callable(value):
            return self._response.force_type(value, {"REQUEST_METHOD": "GET"})
        raise TypeError(f"the handler returned a {type(value).__name__}, which is no response")


class FlaskView:
    """flask itself makes the responses, inside its contexts, so that flask.jsonify and the like work."""

    def __init__(self, name: str) -> None:
        import flask

        self._app = flask.Flask(name)

    @contextmanager
    def scope(self, environ: dict[str, Any]) -> Iterator[Any]:
        """Yield flask's request within its contexts."""
        import flask

        with self._app.request_context(environ):
            yield flask.request._get_current_object()  # type: ignore[attr-defined]  # LocalProxy's documented way to the object

    def respond(self, value: Any) -> Any:
        """Return flask's response."""
        return self._app.make_response(value)


class AioView(PlainView):
    """The shape of request and responses that Google's asynchronous framework takes from Starlette."""

    @contextmanager
    def scope(self, environ: dict[str, Any]) -> Iterator[Any]:
        """Yield a request with awaitable body, json and form."""
        yield _aio_request(self._request)(environ)

    def respond(self, value: Any) -> Any:
        """Take werkzeug's and Starlette's responses, str, dict and tuples; None is an error."""
        if value is None:
            raise TypeError("No response returned")
        if hasattr(value, "raw_headers") and hasattr(value, "body"):
            made = self._response(value.body, status=value.status_code)
            made.headers.clear()
            for name, content in value.raw_headers:
                made.headers.add(name.decode("latin-1"), content.decode("latin-1"))
            return made
        response = super().respond(value)
        if isinstance(value, str) or (isinstance(value, tuple) and isinstance(value[0], str)):
            response.mimetype = "text/plain"
        return response


def split(value: tuple[Any, ...]) -> tuple[Any, Any, Any]:
    """Split (body, status, headers), (body, status) or (body, headers) as flask does."""
    if len(value) == 3:
        return value[0], value[1], value[2]
    if len(value) == 2:
        is_headers = isinstance(value[1], Mapping | list | tuple) or hasattr(value[1], "keys")
        return (value[0], None, value[1]) if is_headers else (value[0], value[1], None)
    raise TypeError("a tuple is (body, status, headers), (body, status) or (body, headers)")


def _aio_request(base: Any) -> Callable[[dict[str, Any]], Any]:
    async def body(self: Any) -> bytes:
        return bytes(self.get_data())

    async def read_json(self: Any) -> Any:
        return json.loads(self.get_data())

    async def form(self: Any) -> Any:
        return base.form.fget(self)

    members = {"body": body, "json": read_json, "form": form, "query_params": property(lambda self: self.args)}
    return type("AioRequest", (base,), members)
