"""The context of one call, in two forms: blocking for plain handlers, awaitable for asynchronous ones."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from functions_framework.event import CloudEvent
from functions_framework.exceptions import FunctionsFrameworkException
from functions_framework.invocation import Invocation, running
from functions_framework.outputs import DEFAULT_BUS, Outputs

T = TypeVar("T")


class NoContext(FunctionsFrameworkException):
    """There is no call: context.current() works inside a handler only."""


class Wiring:
    """What the running process gives to every context; set once by the app."""

    outputs: Outputs | None = None
    loop: asyncio.AbstractEventLoop | None = None


class CallContext:
    """What both forms tell about the call."""

    def __init__(self, invocation: Invocation) -> None:
        self._invocation = invocation

    @property
    def event(self) -> CloudEvent | None:
        """The event, or None for a plain request."""
        return self._invocation.event

    @property
    def event_key(self) -> str:
        """The same for every attempt and duplicate of an event: use it to make an effect happen once."""
        return self._invocation.event_key

    @property
    def attempt(self) -> int:
        """1 for the first attempt."""
        return self._invocation.attempt

    @property
    def deadline(self) -> datetime | None:
        """When the platform gives this attempt up; None: never."""
        left = self.remaining
        return None if left is None else datetime.now(UTC) + left

    @property
    def remaining(self) -> timedelta | None:
        """Time until the deadline, never negative."""
        left = self._invocation.left
        return None if left is None else timedelta(seconds=left)

    @property
    def call(self) -> str:
        """Execution id, as it stands in the logs and in the header Function-Execution-Id."""
        return self._invocation.call

    @property
    def trigger(self) -> str:
        """Name of the trigger that delivered the event, empty for direct calls."""
        return self._invocation.trigger

    @property
    def trace(self) -> str:
        """W3C traceparent of the call, empty without one."""
        return self._invocation.traceparent

    @property
    def logger(self) -> logging.Logger:
        """Logger of the function; every line carries call, event and attempt."""
        return logging.getLogger(os.environ.get("K_SERVICE") or "function")

    @property
    def outputs(self) -> Mapping[str, Any]:
        """Declared outputs by name."""
        return dict(_outputs().declared)


class Context(CallContext):
    """Context of a plain handler."""

    def send(self, output: str, data: Any) -> bytes | None:
        """Send *data* to a declared output; returns once it is acknowledged. Bindings return their reply."""
        return _wait(_outputs().send(output, data))

    def publish(self, topic: str, data: Any, *, bus: str = DEFAULT_BUS, key: str | None = None) -> None:
        """Publish *data* to any topic of *bus*; *key* orders it among events of the same key."""
        _wait(_outputs().publish(topic, data, bus=bus, key=key))


class AsyncContext(CallContext):
    """Context of an asynchronous handler."""

    async def send(self, output: str, data: Any) -> bytes | None:
        """Send *data* to a declared output; returns once it is acknowledged. Bindings return their reply."""
        return await _outputs().send(output, data)

    async def publish(self, topic: str, data: Any, *, bus: str = DEFAULT_BUS, key: str | None = None) -> None:
        """Publish *data* to any topic of *bus*; *key* orders it among events of the same key."""
        await _outputs().publish(topic, data, bus=bus, key=key)


def current() -> Context | AsyncContext:
    """Context of the running call: asynchronous on the event loop, blocking in a thread.

    Raises:
        NoContext: outside of a call.
    """
    invocation = running.get()
    if invocation is None:
        raise NoContext(NoContext.__doc__)
    return AsyncContext(invocation) if _on_loop() else Context(invocation)


def _outputs() -> Outputs:
    if Wiring.outputs is None:
        raise NoContext("no server runs here, so there is nowhere to send to")
    return Wiring.outputs


def _wait(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run *coroutine* on the server's loop and wait for it in this thread."""
    if Wiring.loop is None or _on_loop():
        coroutine.close()
        raise NoContext("a plain function sends from its own thread; in async code use the context's awaitable form")
    return asyncio.run_coroutine_threadsafe(coroutine, Wiring.loop).result()


def _on_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
