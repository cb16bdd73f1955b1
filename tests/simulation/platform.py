"""The controller's side of the simulation: the real scaling pass over fake agents, and a substrate that is slow."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from api.actions import RevisionState, SetReplicas
from api.model import Backend, Snapshot
from api.scaling import ScalePolicy
from controller.scaling import Memory, scale
from controller.sight import Fleet
from tests.simulation.clock import Clock
from tests.simulation.delivery import EPOCH, REVISION, Conditions, Gateway, Instance, Proxy, subscription

LATEST_WAKE = 1.5
"""Seconds after which waiting work that is reported must have a replica coming: one heartbeat and a half."""


class Platform:
    """One function with its broker, proxy, replicas and autoscaler; checks the rules of scaling while it runs."""

    def __init__(self, seed: int, policy: ScalePolicy) -> None:
        self.seed, self.policy = seed, policy
        self.clock, self.random = Clock(), Random(seed)
        self.conditions = Conditions()
        self.proxy = Proxy(self.clock, Random(seed + 1), self.conditions)
        self.gateway = Gateway(self.clock)
        self.connected = True
        self.proxy.wake = self.look
        self.wanted = 0
        self.changes: list[tuple[float, int]] = []
        self.most = 0
        self.stranded_since: float | None = None
        self.restart()
        self.clock.every(1.0, self.look)
        backends = (Backend(revision=REVISION),)
        self.snapshot = Snapshot(namespace="default", subscriptions=(subscription(backends=backends),))

    def restart(self) -> None:
        """The controller is killed and starts again: it remembers nothing."""
        self.memory = Memory()
        self.started = self.clock.now

    def alive(self) -> list[Instance]:
        return [one for one in self.proxy.instances if one.phase in {"starting", "ready"}]

    def fleet(self) -> Fleet:
        state = RevisionState(
            key=REVISION,
            digest="d",
            checked=True,
            wanted=self.wanted,
            credit=self.conditions.credit,
            created=EPOCH,
            scale=self.policy,
        )
        agents = {"gateway-0": self.gateway} | ({"proxy-0": self.proxy} if self.connected else {})
        return Fleet(
            agents=agents,
            revisions=(state,),
            replicas=tuple(one.observed() for one in self.proxy.instances if one.phase != "gone"),
            snapshots=(self.snapshot,),
            started=self.started,
            expected=frozenset({"proxy-0", "gateway-0"}),
        )

    def look(self) -> None:
        """One pass of the controller."""
        scaled = scale(self.fleet(), self.memory, self.clock.now)
        self.memory = scaled.memory
        load = scaled.explanations[REVISION]
        for action in scaled.actions:
            assert 0 <= action.replicas <= self.policy.max, action
            if action.replicas < len(self.alive()):
                assert not load.blind, f"scaled in while blind: {load}"
                assert action.replicas * self.conditions.credit >= load.in_flight, f"below the work in flight: {load}"
            if action.replicas == 0:
                assert not load.lag, f"to zero with lag: {load}"
            self.execute(action)
        if scaled.actions:
            again = scale(self.fleet(), self.memory, self.clock.now)
            assert all(one.drain for one in again.actions), f"not settled: {again.actions} after {scaled.actions}"
        self._check_nothing_strands()

    def execute(self, action: SetReplicas) -> None:
        if action.replicas != self.wanted:
            self.changes.append((self.clock.now, action.replicas))
            self.clock.note("wanted", action.replicas, action.because)
        self.wanted = action.replicas
        leaving = {one.name for one in self.alive() if one.name in action.drain}
        if leaving and not self.proxy.close(leaving, last=len(leaving) == len(self.alive())):
            self.wanted = len(self.alive())  # Reopen
            self.clock.note("refused", sorted(leaving))
        self.converge()

    def converge(self) -> None:
        """Start what is missing."""
        for _ in range(self.wanted - len(self.alive())):
            instance = Instance(f"r{len(self.proxy.instances):05d}", self.clock.now)
            self.proxy.instances.append(instance)
            self.clock.after(self.conditions.start * self.random.uniform(0.8, 1.2), lambda one=instance: self._up(one))
        self.most = max(self.most, len(self.alive()))
        assert self.most <= self.policy.max

    def _up(self, instance: Instance) -> None:
        if instance.phase == "starting":
            instance.phase = "ready"
            self.proxy.dispatch()

    def kill(self) -> None:
        """A replica dies; the substrate replaces it."""
        if alive := [one for one in self.alive() if one.phase == "ready"]:
            self.proxy.lose(self.random.choice(alive))
            self.clock.after(0.1, self.converge)

    def _check_nothing_strands(self) -> None:
        """Invariant 3: reported lag never rests at zero replicas."""
        told = self.proxy.readings is not None and any(one.lag for one in self.proxy.readings.triggers)
        if not (told and self.connected and not self.alive()):
            self.stranded_since = None
        elif self.stranded_since is None:
            self.stranded_since = self.clock.now
        else:
            assert self.clock.now - self.stranded_since <= LATEST_WAKE, "work waits at zero replicas"

    def finish(self, seconds: float) -> None:
        """Heal everything; within *seconds* all that was published must be done, in order of its key."""
        self.conditions.heal()
        self.connected = True
        self.clock.run(self.clock.now + seconds)
        assert self.proxy.lag == 0, f"{self.proxy.lag} of {self.proxy.arrived} events are stranded"
        assert len(self.proxy.done) == self.proxy.arrived
        last: dict[str, int] = {}
        for event in self.proxy.done:
            assert last.get(event.key, -1) < event.number, f"order of key {event.key}"
            last[event.key] = event.number


def policy(**changes: object) -> ScalePolicy:
    return ScalePolicy(**{"max": 8, "cooldown": timedelta(seconds=30), **changes})  # type: ignore[arg-type]  # a test's own
