"""Whether a function can be called as its kind is; pure."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from functions_framework.handler import Kind

EXPECTED = {
    Kind.HTTP: "def {name}(request)",
    Kind.CLOUD_EVENT: "def {name}(event)",
    Kind.EVENT: "def {name}(data, context)",
    Kind.TYPED: "def {name}(value: Type)",
    Kind.BATCH: "def {name}(events)",
    Kind.OPENFUNCTION: "def {name}(context)",
}

POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


def parameters(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the signature, or None for builtins that tell none."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def guess_kind(function: Callable[..., Any]) -> Kind:
    """Kind of a function without decorator and setting: OpenFunction's if its one parameter is a context, else http."""
    signature = parameters(function)
    if signature is None or len(signature.parameters) != 1:
        return Kind.HTTP
    (only,) = signature.parameters.values()
    annotation = getattr(only.annotation, "__name__", only.annotation)
    if only.name == "context" or annotation in {"UserContext", "user_context.UserContext"}:
        return Kind.OPENFUNCTION
    return Kind.HTTP


def takes_context(function: Callable[..., Any], kind: Kind) -> bool:
    """Whether a second argument is wanted: a parameter called ``context``, or one that has no default."""
    signature = parameters(function)
    if signature is None or kind in {Kind.EVENT, Kind.OPENFUNCTION}:
        return False
    positional = [p for p in signature.parameters.values() if p.kind in POSITIONAL]
    if len(positional) < 2:
        return False
    return positional[1].name == "context" or positional[1].default is inspect.Parameter.empty


def mismatch(function: Callable[..., Any], kind: Kind, name: str) -> str | None:
    """Say what is wrong with the parameters, or None."""
    signature = parameters(function)
    if signature is None:
        return None
    count = 2 if kind is Kind.EVENT or takes_context(function, kind) else 1
    try:
        signature.bind(*[None] * count)
    except TypeError:
        written = ", ".join(str(p) for p in signature.parameters.values())
        return f"{name}({written}) cannot be called as a {kind} handler; expected: {EXPECTED[kind].format(name=name)}"
    return None
