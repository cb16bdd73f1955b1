"""What a handler is: its kind, how it is called, how much of it may run at once."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

MARK = "__functions_framework__"

HTTP_THREADS = 8
"""A plain ``http`` function runs in this many threads: they wait for other services more than they compute."""
ASYNC_TASKS = 32
BATCH_EVENTS = 100


class Kind(StrEnum):
    """How a handler is called; the values are Google's signature types, and two of ours."""

    HTTP = "http"
    CLOUD_EVENT = "cloudevent"
    EVENT = "event"
    TYPED = "typed"
    BATCH = "batch"
    OPENFUNCTION = "openfunction"

    @property
    def takes_events(self) -> bool:
        """Whether CloudEvents are what it takes."""
        return self in {Kind.CLOUD_EVENT, Kind.BATCH, Kind.EVENT, Kind.OPENFUNCTION}

    @property
    def takes_requests(self) -> bool:
        """Whether it answers any HTTP request."""
        return self in {Kind.HTTP, Kind.TYPED, Kind.OPENFUNCTION}


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a decorator noted on a function."""

    kind: Kind
    max_size: int = BATCH_EVENTS
    input_type: type[Any] | None = None


@dataclass(frozen=True, slots=True)
class Handler:
    """A loaded handler."""

    name: str
    kind: Kind
    function: Callable[..., Any]
    takes_context: bool = False
    max_size: int = 0
    """Events per call of a batch handler."""
    input_type: type[Any] | None = None
    concurrency: int = 1
    """Calls (batch: events) that may run at once."""

    @property
    def is_async(self) -> bool:
        """Whether calling it gives a coroutine or an asynchronous generator."""
        return is_async(self.function)

    def __str__(self) -> str:
        return f"{self.name} ({self.kind.name.lower()}{', async' if self.is_async else ''})"


def is_async(function: Callable[..., Any]) -> bool:
    """Whether *function* runs on the event loop; objects with an asynchronous ``__call__`` count too."""
    candidates = (function, vars(type(function)).get("__call__"))
    return any(inspect.iscoroutinefunction(c) or inspect.isasyncgenfunction(c) for c in candidates)


def default_concurrency(kind: Kind, *, is_async: bool, max_size: int = BATCH_EVENTS) -> int:
    """Calls at once where nothing is configured: one for a plain function, which may not expect to be run twice."""
    if kind is Kind.BATCH:
        return max_size
    if is_async:
        return ASYNC_TASKS
    return HTTP_THREADS if kind in {Kind.HTTP, Kind.TYPED} else 1


def declaration(function: object) -> Declaration | None:
    """What a decorator noted on *function*, if any did."""
    noted = getattr(function, MARK, None)
    return noted if isinstance(noted, Declaration) else None
