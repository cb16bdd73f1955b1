"""The gateway on the control stream: what it is told, what it tells, and when it gives a replica up."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

from api.frames import (
    Assign,
    Close,
    Closed,
    Config,
    Endpoints,
    Frame,
    Listen,
    Notice,
    Readings,
    Refused,
    Reopen,
    SourceReading,
    Want,
)
from api.meta import RevisionKey
from api.model import Snapshot
from gateway.hooks import Hooks
from gateway.routes import Router
from gateway.traffic import Traffic
from replicas.table import ReplicaTable

INTERVAL = timedelta(seconds=1)
SETTLED = 1.0
"""Seconds after which a controller that sent no snapshot has none."""
COALESCE = 0.1
"""Seconds in which changes of load are gathered into one Readings; a Want never waits."""


class GatewayAgent:
    """Handles frames of the controller (a ControlHandler) and keeps it told."""

    def __init__(
        self,
        boot_id: str,
        table: ReplicaTable,
        traffic: Traffic,
        send: Callable[[Frame], bool],
        *,
        interval: timedelta = INTERVAL,
        sources: Callable[[], tuple[SourceReading, ...]] = tuple,
    ) -> None:
        self._boot_id = boot_id
        self._table, self._traffic, self._send = table, traffic, send
        self._interval, self._sources = interval, sources
        self._snapshots: dict[str, Snapshot] = {}
        self._revisions: frozenset[RevisionKey] = frozenset()
        self._wanted: set[RevisionKey] = set()
        self._closes: dict[tuple[RevisionKey, int], asyncio.Task[None]] = {}
        self._activating: set[RevisionKey] = set()
        self._soon: asyncio.TimerHandle | None = None
        self._seq = 0
        self._known = asyncio.Event()
        self.router = Router()
        self.hooks = Hooks()
        table.subscribe(self._on_table)

    @property
    def configured(self) -> bool:
        """Whether what is served is known: a snapshot came, or a controller was heard that has none."""
        return self._known.is_set()

    async def wait_configured(self, seconds: float) -> bool:
        """Whether it is configured within *seconds*: a gateway that has just started soon is."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._known.wait()
        return self.configured

    @property
    def snapshots(self) -> dict[str, Snapshot]:
        return self._snapshots

    async def run(self) -> None:
        """Send Readings for ever."""
        while True:
            await asyncio.sleep(self._interval.total_seconds())
            self.report()

    def report(self) -> None:
        """Send every Want that holds, then the Readings they belong to."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None
        self._wanted.clear()
        for revision, waiting in self._traffic.waiting():
            if not self._table.listed(revision):
                self._wanted.add(revision)
                self._send(Want(revision=revision, generation=self._table.generation(revision), waiting=waiting))
        self._seq += 1
        self._send(
            Readings(
                boot_id=self._boot_id,
                seq=self._seq,
                routes=self._traffic.readings(),
                sources=self._sources(),
                used=dict(self._table.used()),
            )
        )

    def touch(self) -> None:
        """Something changed that the autoscaler should see before the next interval."""
        if self._soon is None:
            self._soon = asyncio.get_running_loop().call_later(COALESCE, self.report)

    def holding(self, revision: RevisionKey) -> bool:
        """A request waits for *revision*; says so at once, once, when nothing runs. Answers whether that is so."""
        cold = not self._table.listed(revision)
        if cold:
            self._activating.add(revision)
        if cold and revision not in self._wanted:
            self.report()
        else:
            self.touch()
        return cold

    def started(self, revision: RevisionKey, cold_ms: int) -> None:
        """A held request got its replica; the first one of an activation is told of."""
        if revision in self._activating:
            self._activating.discard(revision)
            name, space = revision.function, revision.namespace
            message = f"started for a request in {cold_ms} ms"
            self._send(Notice(namespace=space, function=name, kind="activation", message=message))

    # ControlHandler

    def on_config(self, config: Config) -> None:
        self._snapshots[config.snapshot.namespace] = config.snapshot
        self.router = Router(self._snapshots.values())
        self.hooks = Hooks(self._snapshots.values())
        routes = list(self.router.routes)
        revisions = frozenset(backend.revision for route in routes for backend in route.backends)
        self._traffic.keep({route.key for route in routes}, revisions)
        for gone in self._revisions - revisions:
            self._table.dismiss(gone)
        self._revisions = revisions
        self._known.set()

    def on_assign(self, assign: Assign) -> None:
        """A gateway owns no subscription."""

    def on_listen(self, listen: Listen) -> None:
        """A gateway serves no Dapr API."""

    def on_endpoints(self, endpoints: Endpoints) -> None:
        self._table.update(endpoints)

    def on_close(self, close: Close) -> None:
        """With *last*: give the replicas up only when nothing is in flight or held, in this one step."""
        if close.generation < self._table.generation(close.revision):
            self._refuse(close, held=1)
        elif not close.last:
            self._table.closing(close.replicas)
            self._closes[close.revision, close.generation] = asyncio.get_running_loop().create_task(self._drain(close))
        elif held := self._held(close):
            self._refuse(close, held=held)
        else:
            self._give_up(close)

    def _held(self, close: Close) -> int:
        in_flight = sum(self._table.in_flight(replica) for replica in close.replicas)
        return in_flight + self._traffic.waiting_for(close.revision)

    def _refuse(self, close: Close, *, held: int) -> None:
        self._send(Refused(revision=close.revision, generation=close.generation, replicas=close.replicas, held=held))

    def _give_up(self, close: Close) -> None:
        self._table.remove(close.replicas)
        self._send(Closed(revision=close.revision, generation=close.generation, replicas=close.replicas))

    async def _drain(self, close: Close) -> None:
        await self._table.drained(close.replicas)
        self._closes.pop((close.revision, close.generation), None)
        self._give_up(close)

    def on_reopen(self, reopen: Reopen) -> None:
        """Endpoints follow, and say which replicas may be used again."""
        if task := self._closes.pop((reopen.revision, reopen.generation), None):
            task.cancel()

    def on_connected(self) -> None:
        self.report()
        asyncio.get_running_loop().call_later(SETTLED, self._known.set)

    def on_disconnected(self) -> None:
        closes, self._closes = self._closes, {}
        for (revision, _), task in closes.items():  # whoever asked cannot hear the answer: the close is off
            task.cancel()
            self._table.reopen(revision)

    def _on_table(self, revision: RevisionKey) -> None:
        """Replicas came or went: whoever is held for a revision without any must be told of again."""
        if revision in self._wanted:
            if self._table.listed(revision):
                self._wanted.discard(revision)
        elif self._traffic.waiting_for(revision) and not self._table.listed(revision):
            self.report()
