"""Observe, plan, execute, write statuses, again: level-triggered, woken by whatever may have changed.

Two passes share the wake-ups. Planning sees everything and is held to one pass per PAUSE. Scaling sees revisions and
readings only and follows a Want at once, because somebody waits for that replica. An action that fails, or that does
not bring about what it was for, is tried again ever later and holds nobody else up.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from api.actions import Action, Observed, Plan, Publish, Status, World
from api.errors import EvokeError
from api.meta import Key, RevisionKey
from api.model import BuildSource, Snapshot
from controller import agents, plan
from controller.assign import Assignment, assign
from controller.explanation import Explanation
from controller.homes import homes
from controller.presence import Presence
from controller.scaler import Scaler
from controller.store import Store
from controller.substrate import Substrate
from replicas.server import ControlServer

log = logging.getLogger(__name__)

PAUSE = 0.02
"""Seconds between two planning passes, so that a burst of changes is one pass."""
FIRST_WAIT, LONGEST_WAIT = 0.1, 30.0
"""Seconds before an action is repeated; doubled every time."""
HEARTBEAT = 1.0
"""Seconds after which the scaling pass looks again although nothing changed: time itself ends cooldowns."""

_encode = msgspec.json.Encoder(order="deterministic").encode


class Repeats:
    """Holds back actions that were carried out before and are asked for again."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[float, float]] = {}

    def due(self, actions: Sequence[Action], now: float) -> tuple[list[Action], float | None]:
        """Those to carry out now, and the seconds until the next one is due; what is asked no more is forgotten."""
        asked = {_encode(action): action for action in actions}
        self._known = {name: known for name, known in self._known.items() if name in asked}
        due, waits = [], []
        for name, action in asked.items():
            not_before, wait = self._known.get(name, (0.0, FIRST_WAIT / 2))
            if not_before <= now:
                wait = min(wait * 2, LONGEST_WAIT)
                self._known[name] = (now + wait, wait)
                due.append(action)
            waits.append(self._known[name][0] - now)
        return due, min(waits, default=None)


class Loop:
    """The controller's two passes over one store and one substrate."""

    def __init__(
        self,
        store: Store,
        substrate: Substrate,
        control: ControlServer,
        *,
        expected: Collection[str] = (),
        proxies: Collection[str] = (),
        tell: Callable[[Sequence[Status]], None] = lambda _: None,
        settle: Callable[[Mapping[Key, str]], None] = lambda _: None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """*expected* are the agents that will connect, for scaling; *proxies* those that are functions' homes, of which
        *settle* is told."""
        self._store, self._substrate, self._control = store, substrate, control
        self._tell, self._settle, self._clock = tell, settle, clock
        self._planning, self._scaling = asyncio.Event(), asyncio.Event()
        self._repeats = Repeats()
        self._assignments: dict[str, Assignment] = {}
        self._homes: dict[Key, str] = {}
        self._presence = Presence(proxies, now=time.monotonic())
        self._snapshots: dict[str, Snapshot] = {}
        self._facts: dict[str, object] = {}
        self._scaler = Scaler(
            lambda: control.agents, self._snapshots.values, started=time.monotonic(), expected=expected
        )
        self.failures = 0
        """Passes that ended with an error nobody expected."""
        store.subscribe(self.wake)
        substrate.subscribe(self.wake)

    @property
    def explanations(self) -> Mapping[RevisionKey, Explanation]:
        """Why each revision has as many replicas as it has."""
        return self._scaler.explanations

    @property
    def snapshots(self) -> Mapping[str, Snapshot]:
        """What was published last, by namespace."""
        return self._snapshots

    def wake(self) -> None:
        """Something may have changed; both passes look."""
        self._planning.set()
        self._scaling.set()

    def agents_changed(self) -> None:
        """An agent came, went or reported: scaling looks, planning only at what it would see differently."""
        self._scaling.set()
        facts = agents.facts(self._control.agents)
        if facts != self._facts:
            self._facts = facts
            self._planning.set()

    async def run(self) -> None:
        """Run both passes until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._repeat(self._plan_pass, self._planning, PAUSE))
            group.create_task(self._repeat(self._scale_pass, self._scaling, 0.0))

    async def _repeat(
        self, one_pass: Callable[[], Awaitable[float | None]], event: asyncio.Event, pause: float
    ) -> None:
        wait = FIRST_WAIT
        while True:
            event.clear()
            try:
                again: float | None = await one_pass()
                wait = FIRST_WAIT
            except Exception:  # a pass must not end the controller: it is logged, counted and repeated
                self.failures += 1
                log.exception("a pass of the loop failed")
                again = wait = min(wait * 2, LONGEST_WAIT)
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(again):  # wait_for() may swallow a cancellation before Python 3.12
                    await event.wait()
            except TimeoutError:
                continue

    async def _plan_pass(self) -> float | None:
        resources = await self._store.resources()
        observed = await self._observe(plan.sources(resources))
        now = self._clock()
        made: Plan = plan.plan(World(resources=resources, observed=observed, now=now))
        due, wait = self._repeats.due(made.actions, time.monotonic())
        for action in due:
            await self._execute(action)
        changed = await self._store.write_statuses(made.statuses, now=now)
        away = self._assign(observed)
        if changed:
            self._tell(changed)
        if due:
            self._planning.set()  # the world is another one now
        return _soonest(made.requeue, wait, away)

    async def _scale_pass(self) -> float | None:
        observed = await self._substrate.observe()
        before = self._scaler.scaling
        kills = agents.kills(self._control.agents, observed.replicas)
        decided: Sequence[Action] = self._scaler.decide(observed, time.monotonic())
        for action in (*kills, *decided):
            await self._execute(action)
        if before != self._scaler.scaling:
            self._planning.set()
        return _soonest(self._scaler.requeue, HEARTBEAT)

    async def _observe(self, sources: Sequence[tuple[Key, BuildSource]]) -> Observed:
        observed = await self._substrate.observe(sources)
        facts = agents.facts(self._control.agents)
        return msgspec.structs.replace(observed, scaling=self._scaler.scaling, **facts)

    async def _execute(self, action: Action) -> None:
        try:
            await self._substrate.execute(action)
        except EvokeError as error:
            log.warning("%s failed: %s", type(action).__name__, error)
        else:
            if isinstance(action, Publish):
                self._snapshots[action.snapshot.namespace] = action.snapshot

    def _assign(self, observed: Observed) -> float | None:
        """Give every subscription and source an owner among the connected proxies, and every function a home; answers
        the seconds after which that may be another."""
        proxies = [name for name, role in observed.agents.items() if role == "proxy"]
        now = time.monotonic()
        if proxies:
            functions = [app.key for snapshot in self._snapshots.values() for app in snapshot.apps]
            self._homes = homes(functions, self._presence.counted(proxies, now), self._homes)
            self._settle(self._homes)
            self._assignments = assign(proxies, self._snapshots.values(), self._assignments, self._homes)
            for name, mine in self._assignments.items():
                self._control.assign(name, mine.subscriptions, mine.sources)
        return self._presence.changes_in(proxies, now)


def _soonest(requeue: timedelta | None, *waits: float | None) -> float | None:
    found = [one for one in (requeue.total_seconds() if requeue is not None else None, *waits) if one is not None]
    return min(found, default=None)
