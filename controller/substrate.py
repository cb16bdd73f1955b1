"""What runs things: processes of this machine, or objects of a cluster.

``observe`` says what is, ``execute`` carries out one action of a plan. Both are level-triggered and idempotent: an
action that is repeated, or that meets what is already so, changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from api.actions import Action, Observed
from api.meta import Key
from api.model import BuildSource


class Substrate(Protocol):
    """One place where functions run. Never blocks on a build, a start or a drain: those end in a later observation."""

    async def observe(self, sources: Sequence[tuple[Key, BuildSource]] | None = None) -> Observed:
        """What is now, with the trees of *sources* that are folders; None: without a look at any tree.

        What agents and the autoscaler know is left to the loop.
        """
        ...

    async def execute(self, action: Action) -> None:
        """Carry out one action, or raise an EvokeError that says why not."""
        ...

    def subscribe(self, changed: Callable[[], None]) -> None:
        """Call *changed* whenever an observation would differ from the one before."""
        ...
