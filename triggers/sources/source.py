"""What every event source offers to the proxy that hosts it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeAlias

from api.errors import EvokeError
from api.frames import SourceReading
from api.model import Source
from eventbus.state import StateStore

Cells: TypeAlias = Callable[[], Awaitable[StateStore]]
"""Where a source keeps what it must know after a restart; raises BusError."""


class SourceError(EvokeError):
    """The event source cannot do what was asked."""


class BadSource(SourceError):
    """The source's options do not hold."""


class Publish(Protocol):
    """Stores one structured CloudEvent on the source's subject; returns once the bus has acknowledged it."""

    async def __call__(self, payload: bytes, *, key: str, dedupe: str) -> None: ...


class EventSource(Protocol):
    """One running source."""

    async def run(self, publish: Publish) -> None:
        """Bring events in until cancelled; reconnects by itself and acknowledges nothing that is not on the bus."""
        ...

    def state(self) -> SourceReading:
        """What it sees now; *connected* with a *reason* means that it works, but not well."""
        ...

    async def publish(self, topic: str, payload: bytes) -> None:
        """Put a message into the outside system, as its own clients do; raises SourceError where that is not possible
        and when the other side did not acknowledge."""
        ...


def uri(source: Source, scheme: str) -> str:
    """CloudEvents ``source`` of its events: ``<scheme>://<eventsource>/<event>``."""
    owner, _, event = source.key.name.partition(".")
    return f"{scheme}://{owner}/{event}"
