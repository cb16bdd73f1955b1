"""The decorators: they note the kind on the function and return it, so it stays callable as it was."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from typing import Any, TypeVar, overload

from functions_framework.exceptions import InvalidTargetTypeException
from functions_framework.handler import BATCH_EVENTS, MARK, Declaration, Kind

F = TypeVar("F", bound=Callable[..., Any])

error_handlers: dict[type[Exception] | int, Callable[[Any], Any]] = {}
"""What ``errorhandler`` noted; one process serves one user's code."""


def http(function: F) -> F:
    """Mark a handler of HTTP requests: a Flask-like request in, anything a Flask view may return out."""
    return _note(function, Declaration(Kind.HTTP))


def cloud_event(function: F) -> F:
    """Mark a handler of one CloudEvent; a value it returns goes to the declared outputs."""
    return _note(function, Declaration(Kind.CLOUD_EVENT))


@overload
def batch(function: F, /) -> F: ...
@overload
def batch(*, max_size: int = BATCH_EVENTS) -> Callable[[F], F]: ...
def batch(function: F | None = None, /, *, max_size: int = BATCH_EVENTS) -> F | Callable[[F], F]:
    """Mark a handler of up to *max_size* CloudEvents at once.

    It may return a list with one entry for each event: an ``ff.Reject`` or ``ff.Retry`` decides that event's fate,
    any other value but None goes to the declared outputs. Raising fails every event of the call.
    """
    if max_size < 1:
        raise InvalidTargetTypeException(f"batch(max_size={max_size}): at least 1")
    declared = Declaration(Kind.BATCH, max_size=max_size)
    if function is not None:
        return _note(function, declared)
    return lambda decorated: _note(decorated, declared)


def typed(argument: Any) -> Any:
    """Mark a handler of one typed value: ``@typed`` reads the type from the annotation, ``@typed(Cls)`` names it.

    The type has ``from_dict``; what is returned has ``to_dict`` or is a builtin.
    """
    if isinstance(argument, type):
        return lambda function: _typed(function, argument)
    return _typed(argument, None)


def errorhandler(error: type[Exception] | int) -> Callable[[F], F]:
    """Mark the function that answers for exceptions of one class, or for one HTTP status."""

    def note(function: F) -> F:
        error_handlers[error] = function
        return function

    return note


def _note(function: F, declared: Declaration) -> F:
    if not callable(function):
        raise InvalidTargetTypeException(
            f"@{declared.kind.name.lower()} needs a function, got {type(function).__name__}"
        )
    setattr(function, MARK, declared)
    return function


def _typed(function: F, named: type[Any] | None) -> F:
    parameters = list(inspect.signature(function).parameters.values())
    name = getattr(function, "__name__", "function")
    if not parameters:
        raise InvalidTargetTypeException(
            f"{name}() takes no argument; a typed function takes one: def {name}(value: Type)"
        )
    annotated = typing.get_type_hints(function).get(parameters[0].name)
    chosen = named if named is not None else annotated
    if chosen is None:
        raise InvalidTargetTypeException(
            f"{name}() has no type for {parameters[0].name}: annotate it or write @typed(Type)"
        )
    if named is not None and annotated is not None and annotated is not named:
        raise InvalidTargetTypeException(
            f"{name}(): @typed names {named.__name__}, the annotation says {getattr(annotated, '__name__', annotated)}"
        )
    if not callable(getattr(chosen, "from_dict", None)):
        raise InvalidTargetTypeException(
            f"{getattr(chosen, '__name__', chosen)} has no from_dict, so {name}() cannot be fed"
        )
    return _note(function, Declaration(Kind.TYPED, input_type=chosen))
