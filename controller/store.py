"""Where resources live. The loop reads all of them and writes their status; nothing else decides here.

Locally SQLite (controller/local/sqlite.py), in a cluster the API server.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from api.actions import Resource, Status


class Store(Protocol):
    """Resources as desired state. Reads are complete and consistent; a change is announced after it is durable."""

    async def resources(self) -> tuple[Resource, ...]:
        """Every stored resource, its spec decoded, ordered by kind, namespace and name."""
        ...

    async def write_statuses(self, statuses: Sequence[Status], *, now: datetime) -> tuple[Status, ...]:
        """Store the statuses of resources that still exist, conditions settled with Ready; answers those that changed.

        A change of status never raises a generation and is not announced to subscribers.
        """
        ...

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call *changed* after every change of desired state."""
        ...
