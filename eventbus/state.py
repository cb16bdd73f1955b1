"""Small durable state beside a bus: cells with compare-and-set, shared by all proxies."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from eventbus.errors import BusError


class Conflict(BusError):
    """Somebody else changed the cell since it was read."""


class Cell(NamedTuple):
    value: bytes
    """Empty: nothing is stored."""
    revision: int
    """What put() compares; 0: never written."""


class StateStore(Protocol):
    """Cells by key (``[A-Za-z0-9_=.-]+``). Every method raises BusError subclasses only."""

    async def get(self, key: str) -> Cell: ...

    async def put(self, key: str, value: bytes, revision: int) -> int:
        """Store over *revision*; answers the new one, or raises Conflict. An empty *value* forgets the cell."""
        ...
