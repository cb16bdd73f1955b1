"""What the controller's end of the control stream keeps of one revision, and the vote on closing replicas of it."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable

from api.frames import Closed, Endpoint, Endpoints, Refused
from api.meta import RevisionKey


class Board:
    """Endpoints of one revision as reported and as agents may see them."""

    def __init__(self) -> None:
        self.generation = 0
        self._reported: tuple[Endpoint, ...] = ()
        self._told: tuple[Endpoint, ...] | None = None
        self._closing: set[str] = set()
        self._closed: set[str] = set()

    @property
    def visible(self) -> tuple[Endpoint, ...]:
        hidden = self._closing | self._closed
        return tuple(endpoint for endpoint in self._reported if endpoint.replica not in hidden)

    def set(self, endpoints: tuple[Endpoint, ...]) -> None:
        self._reported = endpoints
        self._closed &= {endpoint.replica for endpoint in endpoints}

    def changed(self) -> bool:
        """Whether agents must be told; bumps the generation when so."""
        if self.visible == self._told:
            return False
        self._told = self.visible
        self.generation += 1
        return True

    def frame(self, epoch: int, revision: RevisionKey) -> Endpoints:
        return Endpoints(epoch=epoch, revision=revision, generation=self.generation, endpoints=self.visible)

    def close(self, replicas: Collection[str]) -> None:
        """Start a close: it has a generation of its own, so that no answer to another one counts."""
        self._closing |= set(replicas)
        self.generation += 1

    def settle(self, replicas: Collection[str], *, accepted: bool) -> None:
        """End a close; Endpoints of a higher generation always follow."""
        self._closing -= set(replicas)
        if accepted:
            self._closed |= set(replicas)
        self._told = None


class Closing:
    """One vote: all of *voters* must answer Closed; the first refusal decides."""

    def __init__(self, voters: Iterable[str]) -> None:
        self._open = set(voters)
        self._asked = frozenset(self._open)
        self.answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if not self._open:
            self.answer.set_result(True)

    def hear(self, agent: str, frame: Closed | Refused) -> None:
        if isinstance(frame, Refused):
            self.refuse(agent)
            return
        self._open.discard(agent)
        if not self._open and not self.answer.done():
            self.answer.set_result(True)

    def refuse(self, agent: str) -> None:
        if agent in self._asked and not self.answer.done():
            self.answer.set_result(False)
