"""What an outside broker in front of a bus has to do; everything else is the store's and the bridges'."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import Protocol

import msgspec

from eventbus.errors import BusError
from eventbus.raw import NOTHING


class Outgoing(msgspec.Struct, frozen=True, kw_only=True):
    """One message for the broker."""

    payload: bytes
    content_type: str = ""
    """Empty: bytes that are no event."""
    id: str
    """Of the event, or of the one that carried the bytes: by it the bridge's event is known again."""
    dedupe: str = ""
    metadata: Mapping[str, str] = NOTHING
    """Of the publish."""


class Front(Protocol):
    """One broker, publishing only."""

    bounded: bool
    """Whether it drops what a slow session has too much of, so that publishers must not be too far ahead."""

    @property
    def names(self) -> bool:
        """Whether what it makes of bytes alone has the id of the event that carried them; asked of a *bounded* one."""
        ...

    @property
    def where(self) -> str:
        """For people: ``mqtt at mqtt://host:1883``."""
        ...

    @property
    def connected(self) -> bool: ...

    @property
    def trouble(self) -> BusError | None:
        """Why it is not connected; None: nothing is known."""
        ...

    def wide(self, subscribed: str) -> bool:
        """Whether a subscription may get what is published on other subjects than its own."""
        ...

    def start(self) -> None:
        """Connect, in the background and for ever."""
        ...

    def matches(self, subscribed: str, subject: str) -> bool:
        """Whether a subscription of one subject gets what is published on another."""
        ...

    def submit(self, subject: str, message: Outgoing, within: float) -> Awaitable[None]:
        """Put *message* behind those that wait, before this returns; the answer is done when the broker has
        acknowledged it. Raises Refused, or Unreachable after *within* seconds."""
        ...

    async def close(self) -> None: ...
