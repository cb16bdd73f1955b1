"""What comes with a call beside its message: who makes it, in which trace."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, TypeAlias, cast

import grpc.aio

from proxy.dapr_http.trace import context

Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Metadata: TypeAlias = Sequence[tuple[str, str | bytes]]

TOKEN = "dapr-api-token"  # noqa: S105 - a metadata key


def of(call: Context) -> Metadata:
    """Metadata of the call; keys are lower case."""
    return cast("Metadata", call.invocation_metadata() or ())


def text(metadata: Metadata, key: str) -> str:
    """The first value of *key*; empty: there is none."""
    return next((value for name, value in metadata if name == key and isinstance(value, str)), "")


def values(metadata: Metadata, key: str) -> list[str]:
    return [value for name, value in metadata if name == key and isinstance(value, str)]


def trace(metadata: Metadata) -> tuple[str, str]:
    """traceparent and tracestate. ``grpc-trace-bin``, which older clients send, is kept back by grpc's server."""
    parent, state = text(metadata, "traceparent"), text(metadata, "tracestate")
    return context([(b"traceparent", parent.encode()), (b"tracestate", state.encode())])


def without(metadata: Metadata, names: Iterable[str]) -> list[tuple[str, str | bytes]]:
    """What may be told on: neither *names*, nor what belongs to the connection."""
    hidden = {*names, "user-agent", "content-type", "te"}
    return [(name, value) for name, value in metadata if name not in hidden and not name.startswith((":", "grpc-"))]
