"""The end of replicas, as this agent has a vote in it: never the last one while work is there."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.frames import Close, Closed, Frame, Refused
from api.meta import RevisionKey
from proxy.subscriptions import Subscriptions
from replicas.table import ReplicaTable

UNSURE = 1
"""What Refused says is held when that cannot be told."""


class Closings:
    """One close per revision at a time; a newer one or a Reopen calls the older one off."""

    def __init__(
        self,
        table: ReplicaTable,
        subscriptions: Subscriptions,
        send: Callable[[Frame], object],
        calls: Callable[[RevisionKey], int] = lambda _revision: 0,
    ) -> None:
        """*calls*: service invocations that wait for a revision."""
        self._table, self._subscriptions, self._send, self._calls = table, subscriptions, send, calls
        self._running: dict[RevisionKey, asyncio.Task[None]] = {}

    def close(self, close: Close) -> None:
        self._stop(close.revision)
        if close.last and (held := self._held(close)):
            self._refuse(close, held)
            return
        if close.last:
            self._table.remove(close.replicas)  # in the same step as the check: nothing can start in between
            work = self._sleep(close)
        else:
            self._table.closing(close.replicas)
            work = self._drain(close)
        self._running[close.revision] = asyncio.get_running_loop().create_task(work)

    def reopen(self, revision: RevisionKey) -> None:
        self._stop(revision)
        self._table.reopen(revision)

    def disconnected(self) -> None:
        """Whoever asked cannot hear the answer: every close is off."""
        for revision in list(self._running):
            self.reopen(revision)

    def _held(self, close: Close) -> int:
        held = sum(self._table.in_flight(replica) for replica in close.replicas) + self._calls(close.revision)
        for owner in self._subscriptions.of(close.revision):
            count = owner.held_for(close.revision)
            held += UNSURE if count is None else count
        return held

    async def _sleep(self, close: Close) -> None:
        """The replicas are out of the table: arm the doorbells, then look once more."""
        owners = self._subscriptions.of(close.revision)
        quiet = await asyncio.gather(*(owner.sleep(close.revision) for owner in owners))
        if all(quiet) and not self._held(close):
            self._send(Closed(revision=close.revision, generation=close.generation, replicas=close.replicas))
        else:
            self._refuse(close, self._held(close) or UNSURE)

    async def _drain(self, close: Close) -> None:
        await self._table.drained(close.replicas)
        self._table.remove(close.replicas)
        self._send(Closed(revision=close.revision, generation=close.generation, replicas=close.replicas))

    def _refuse(self, close: Close, held: int) -> None:
        self._send(Refused(revision=close.revision, generation=close.generation, replicas=close.replicas, held=held))

    def _stop(self, revision: RevisionKey) -> None:
        if task := self._running.pop(revision, None):
            task.cancel()
