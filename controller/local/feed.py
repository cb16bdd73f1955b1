"""The stream of happenings: a short memory, and everybody who watches."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from api.happenings import Happening, HappeningType
from api.meta import Key

MEMORY = 1000
"""Happenings kept for those who ask for the past, and waiting at most for one slow watcher."""


class Feed:
    """Happenings in the order in which they were posted."""

    def __init__(self, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._past: deque[Happening] = deque(maxlen=MEMORY)
        self._watchers: set[asyncio.Queue[Happening]] = set()

    def post(
        self,
        resource: Key,
        type_: HappeningType,
        message: str,
        *,
        kind: str = "function",
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Tell everybody."""
        happening = Happening(
            at=self._clock(),
            namespace=resource.namespace,
            resource=f"{kind}/{resource.name}",
            type=type_,
            message=message,
            data=dict(data or {}),
        )
        self._past.append(happening)
        for queue in self._watchers:
            if queue.full():
                queue.get_nowait()  # a watcher that does not read loses the oldest, nobody else waits for it
            queue.put_nowait(happening)

    def past(self, namespace: str | None = None) -> list[Happening]:
        """What is remembered, oldest first."""
        return [one for one in self._past if namespace in {None, one.namespace, ""}]

    @contextmanager
    def watching(self) -> Iterator[asyncio.Queue[Happening]]:
        """A queue of everything posted from now on."""
        queue: asyncio.Queue[Happening] = asyncio.Queue(MEMORY)
        self._watchers.add(queue)
        try:
            yield queue
        finally:
            self._watchers.discard(queue)
