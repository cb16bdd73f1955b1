"""What replicas still run for the owner before: an owner that lost its hold, or died, leaves attempts that nobody ends.

Before its first delivery a new owner says its epoch to every replica it knows. Our framework refuses the old owner from
then on, and names the keys that it has not finished for it; those wait, all others go on. Foreign apps know nothing of
this: what they still run may overlap with the next attempt of its key.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import msgspec

from api.frames import Endpoint
from proxy.hold import Hold
from proxy.post import MARGIN
from proxy.suspects import Suspects
from proxy.wiring import Wiring
from replicas.errors import ConnectFailed, ReplicaError

PATH = "/evoke/fence"
AGAIN = 0.25
"""Seconds between two questions to one replica."""
TIMEOUT = 2.0
MAX_REPLY = 8 << 20


class Running(msgspec.Struct, frozen=True):
    """Answer of a replica."""

    keys: list[str] = []
    overdue: int = 0
    """Calls that it gave up and could not end: of whichever key."""


NOTHING = Running()
_decode = msgspec.json.Decoder(Running).decode


class Takeover:
    def __init__(self, hold: Hold, wiring: Wiring, suspects: Suspects, again: Callable[[], None]) -> None:
        """*again* looks for something to start."""
        self._hold, self._wiring, self._suspects, self._again = hold, wiring, suspects, again
        foreign = hold.subscription.sink is not None or hold.subscription.form == "stream"
        self.over = hold.intake.epoch <= 1 or foreign
        """Whether deliveries may begin."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._unanswered = 0

    def ask(self, endpoints: Sequence[Endpoint]) -> None:
        """Ask *endpoints* what they still run; only the first call does. Dapr apps are not asked."""
        ours = [endpoint for endpoint in endpoints if endpoint.protocol == "evoke"]
        if not self._tasks and endpoints and not ours:
            self.over = True
            self._again()
        elif not self._tasks and endpoints:
            limit = self._wiring.clock() + self._hold.subscription.delivery.timeout.total_seconds() + MARGIN
            self._unanswered = len(ours)
            for endpoint in ours:
                task = asyncio.get_running_loop().create_task(self._ask(endpoint, limit))
                self._tasks.add(task)

    def stop(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _ask(self, endpoint: Endpoint, limit: float) -> None:
        """Hear which keys run at *endpoint*, and free each once it does not."""
        held: set[str] = set()
        try:
            held |= set((await self._answer(endpoint, limit)).keys)
            self._hold.block(held)
        finally:  # whatever went wrong must not hold everything back for ever
            self._answered()
        while held:
            await asyncio.sleep(AGAIN)
            answer = await self._question(endpoint)
            if answer is None:
                continue  # alive or not, it does not tell
            if answer.overdue:
                self._suspects.question(endpoint)  # one of these keys may be among what it cannot end
                continue
            ended = held - set(answer.keys)
            held -= ended
            self._hold.unblock(ended)
            self._again()

    async def _answer(self, endpoint: Endpoint, limit: float) -> Running:
        """First answer that names all that runs; nothing once whatever runs there has met its deadline."""
        while True:
            answer = await self._question(endpoint)
            if answer is not None and not answer.overdue:
                return answer
            if self._wiring.clock() >= limit or not self._wiring.table.knows(endpoint.replica):
                return NOTHING
            if answer is not None:
                self._suspects.question(endpoint)
            await asyncio.sleep(AGAIN)

    def _answered(self) -> None:
        self._unanswered -= 1
        if not self._unanswered:
            self.over = True
            self._again()

    async def _question(self, endpoint: Endpoint) -> Running | None:
        """None: no answer in time."""
        headers = [
            (b"evoke-epoch", b"%d" % self._hold.intake.epoch),
            (b"evoke-trigger", str(self._hold.subscription.key).encode()),
        ]
        try:
            response = await self._wiring.http.request(endpoint.address, "GET", PATH, headers, timeout=TIMEOUT)
            body = await response.read(MAX_REPLY)
            return _decode(body) if response.status == 200 else NOTHING
        except ConnectFailed:
            return NOTHING  # it is gone, and what it ran with it
        except msgspec.DecodeError:
            return NOTHING  # an app that takes any path
        except ReplicaError:
            return None
