"""The autoscaler between two looks: calls scaling.scale() and keeps what it must remember and what it explained."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import timedelta

from api.actions import Observed, SetReplicas
from api.meta import RevisionKey
from api.model import Snapshot
from controller.explanation import Explanation
from controller.scaling import Memory, scale
from controller.sight import Agent, Fleet


class Scaler:
    """One per controller; *agents* and *snapshots* answer what is connected and published now.

    *started* is the monotonic time of the controller's start, *expected* names the agents that will connect.
    """

    def __init__(
        self,
        agents: Callable[[], Mapping[str, Agent]],
        snapshots: Callable[[], Collection[Snapshot]],
        *,
        started: float,
        expected: Collection[str] = (),
    ) -> None:
        self._agents, self._snapshots = agents, snapshots
        self._started, self._expected = started, frozenset(expected)
        self._memory = Memory()
        self.explanations: Mapping[RevisionKey, Explanation] = {}
        """Last decision of every revision, for `describe`."""
        self.scaling: dict[str, str] = {}
        """For Observed.scaling."""
        self.requeue: timedelta | None = None
        """When a decision changes although no reading does."""

    def decide(self, observed: Observed, now: float) -> Sequence[SetReplicas]:
        """What to change at monotonic time *now*; asked again with the same, it answers the same."""
        scaled = scale(
            Fleet(
                agents=self._agents(),
                revisions=observed.revisions,
                replicas=observed.replicas,
                snapshots=tuple(self._snapshots()),
                started=self._started,
                expected=self._expected,
            ),
            self._memory,
            now,
        )
        self._memory, self.requeue = scaled.memory, scaled.requeue
        self.explanations, self.scaling = scaled.explanations, scaled.scaling
        return scaled.actions
