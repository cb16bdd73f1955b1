"""Google's asynchronous decorators, and an ASGI application of a source.

An ``aio.http`` handler gets a request whose ``body()``, ``json()`` and ``form()`` are awaited.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from functions_framework import decorators

F = TypeVar("F", bound=Callable[..., Any])
Asgi = Callable[
    [dict[str, Any], Callable[[], Awaitable[dict[str, Any]]], Callable[[dict[str, Any]], Awaitable[None]]],
    Awaitable[None],
]


def http(function: F) -> F:
    """Mark a handler of HTTP requests, ``def`` or ``async def``."""
    decorators.http(function)
    function.__functions_framework_aio__ = True  # type: ignore[attr-defined]  # a note on the function, as the decorators'
    return function


def cloud_event(function: F) -> F:
    """Mark a handler of one CloudEvent, ``def`` or ``async def``."""
    return decorators.cloud_event(function)


def create_asgi_app(target: str | None = None, source: str | None = None, signature_type: str = "http") -> Asgi:
    """ASGI application of one target, for uvicorn and the like."""
    from functions_framework.asgi import asgi_app
    from functions_framework.wsgi import load_app

    return asgi_app(load_app(target, source, signature_type))


def __getattr__(name: str) -> Any:
    """Return ``functions_framework.aio.app``: the application of the environment's target, made on the first use."""
    if name == "app":
        return create_asgi_app()
    raise AttributeError(name)
