"""Between a kind of handler and the call: which arguments it gets, what its answer means."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from functions_framework.background import LegacyContext
from functions_framework.context import AsyncContext, Context
from functions_framework.handler import Handler, Kind
from functions_framework.invocation import Invocation

_BUILTINS = (str, bytes, bytearray, int, float, bool, dict, list, tuple)


def event_arguments(handler: Handler) -> Callable[[Invocation], tuple[Any, ...]]:
    """Arguments for the call with one event; for batches those after the list."""
    if handler.kind is Kind.OPENFUNCTION:
        return _user_context
    if handler.kind is Kind.EVENT:
        return lambda call: (call.event.data, LegacyContext.of(call.event)) if call.event is not None else (None, None)
    if not handler.takes_context:
        return lambda call: (call.event,)
    form = AsyncContext if handler.is_async else Context
    return lambda call: (call.event, form(call))


def web_call(handler: Handler) -> Callable[[Any, Invocation], Any]:
    """Return the function that calls *handler* with a request."""
    function = handler.function
    if handler.kind is Kind.OPENFUNCTION:
        return lambda request, call: _openfunction(function, request, call)
    if handler.kind is Kind.TYPED:
        return _typed(handler)
    if not handler.takes_context:
        return lambda request, _call: function(request)
    form = AsyncContext if handler.is_async else Context
    return lambda request, call: function(request, form(call))


def _user_context(call: Invocation) -> tuple[Any, ...]:
    from functions_framework.context.user_context import UserContext

    return (UserContext(call, topic_event=call.event),)


def _openfunction(function: Callable[..., Any], request: Any, call: Invocation) -> Any:
    """Call with an HTTP request; ``context.out`` is the answer unless something was returned."""
    from functions_framework.context.user_context import BindingRequest, UserContext

    headers = request.headers
    bound = headers.get("evoke-trigger") or headers.get("evoke-binding")
    binding = BindingRequest(request.get_data(), dict(headers)) if bound else None
    context = UserContext(call, http_request=None if binding else request, binding_request=binding)
    value = function(context)
    if hasattr(value, "__await__"):
        return _later(value, context)
    return _out(value, context)


async def _later(value: Any, context: Any) -> Any:
    return _out(await value, context)


def _out(value: Any, context: Any) -> Any:
    out = value if hasattr(value, "get_code") else context.out
    if value is not None and value is not out:
        return value
    error = out.get_error()
    if error is not None:
        raise error if isinstance(error, Exception) else RuntimeError(str(error))
    headers = {str(k): str(v) for k, v in (out.get_metadata() or {}).items()}
    return out.get_data() if out.get_data() is not None else "", out.get_code() or 200, headers


def _typed(handler: Handler) -> Callable[[Any, Invocation], Any]:
    function, kind = handler.function, handler.input_type
    form = AsyncContext if handler.is_async else Context

    def prepare(request: Any, call: Invocation) -> tuple[Any, ...]:
        value = kind.from_dict(request.get_json(force=True)) if kind is not None else None
        return (value, form(call)) if handler.takes_context else (value,)

    async def asynchronous(request: Any, call: Invocation) -> Any:
        return _typed_answer(await function(*prepare(request, call)))

    if handler.is_async:
        return asynchronous
    return lambda request, call: _typed_answer(function(*prepare(request, call)))


def _typed_answer(value: Any) -> Any:
    if value is None:
        return "", 200
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, _BUILTINS):
        return value
    if not callable(getattr(value, "to_dict", None)):
        raise TypeError(f"the handler returned a {type(value).__name__}, which has no to_dict")
    return value.to_dict()
