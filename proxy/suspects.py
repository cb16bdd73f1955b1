"""Attempts without a reply, or still running: not tried again until their replica confirmed, or is gone.

Python cannot cancel a thread, so an attempt that timed out may run on while its retry would start elsewhere: two events
of one key at once. A replica whose address refuses connections is gone, and with it whatever it ran. Our framework
tells at ``/evoke/overdue`` how many calls it gave up and could not end. What still runs a moment after its deadline is
reported as stuck, so that whoever starts replicas ends this one; its events wait for that, however long it takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

import msgspec

from api.frames import Endpoint
from proxy.wiring import Wiring
from replicas.errors import ConnectFailed, ReplicaError

PROBE_EVERY = 0.25
PROBE_TIMEOUT = 2.0
CONFIRMS_AFTER = 0.25
"""Seconds past a deadline from which a replica knows every call that did not meet it."""
STUCK_AFTER = 1.0
"""Seconds past its deadline after which an attempt that still runs costs its replica."""
MAX_REPLY = 4096

Answer = Literal["gone", "clear", "late", "silent"]
"""*clear*: nothing runs past its deadline there. *silent*: alive or not, it does not tell."""


class _Overdue(msgspec.Struct):
    overdue: int


_decode = msgspec.json.Decoder(_Overdue).decode


class Suspects:
    """Watches over the replicas that owe a reply."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.watches: set[asyncio.Task[None]] = set()
        self._questions: dict[str, asyncio.Task[None]] = {}

    def watch(self, endpoint: Endpoint, deadline: float, confirmed: Callable[[], None]) -> None:
        """Call *confirmed* once the replica cannot be running what it was sent; *deadline* is monotonic. A Dapr app
        tells nothing of that: its silence counts as the end."""
        watch = self._watch if endpoint.protocol == "evoke" else self._give_up
        task = _task(watch(endpoint, deadline, confirmed), endpoint)
        self.watches.add(task)
        task.add_done_callback(self.watches.discard)

    def question(self, endpoint: Endpoint) -> None:
        """It has no room: calls that an owner before us gave up may hold its places for ever."""
        if endpoint.replica not in self._questions and endpoint.protocol == "evoke":
            task = self._questions[endpoint.replica] = _task(self._question(endpoint), endpoint)
            task.add_done_callback(lambda _done: self._questions.pop(endpoint.replica))

    def stop(self) -> None:
        """Watch no more."""
        for task in (*self.watches, *self._questions.values()):
            task.cancel()

    async def _watch(self, endpoint: Endpoint, deadline: float, confirmed: Callable[[], None]) -> None:
        late = False
        with ExitStack() as reported:
            while True:
                now = self._wiring.clock()
                answer = await self._ask(endpoint)
                if answer == "gone" or (answer == "clear" and now >= deadline + CONFIRMS_AFTER):
                    break
                if not late and now >= deadline + STUCK_AFTER:
                    late = True
                    reported.enter_context(self._stuck(endpoint))
                await asyncio.sleep(PROBE_EVERY)
        confirmed()

    @staticmethod
    async def _give_up(_endpoint: Endpoint, _deadline: float, confirmed: Callable[[], None]) -> None:
        confirmed()

    async def _question(self, endpoint: Endpoint) -> None:
        await asyncio.sleep(STUCK_AFTER)
        if await self._ask(endpoint) == "late":
            with self._stuck(endpoint):
                while await self._ask(endpoint) == "late":  # noqa: ASYNC110 - another process has no event for it
                    await asyncio.sleep(PROBE_EVERY)

    @contextmanager
    def _stuck(self, endpoint: Endpoint) -> Iterator[None]:
        """Report the replica for as long as this holds."""
        stuck = self._wiring.stuck
        stuck[endpoint.replica] += 1
        if endpoint.replica not in self._wiring.condemned:
            self._wiring.condemned.append(endpoint.replica)
        self._wiring.changed()
        try:
            yield
        finally:
            stuck[endpoint.replica] -= 1
            if not stuck[endpoint.replica]:
                del stuck[endpoint.replica]

    async def _ask(self, endpoint: Endpoint) -> Answer:
        http = self._wiring.http
        try:
            response = await http.request(endpoint.address, "GET", "/evoke/overdue", [], timeout=PROBE_TIMEOUT)
            overdue = _decode(await response.read(MAX_REPLY)).overdue
        except ConnectFailed:
            return "gone"
        except (ReplicaError, msgspec.DecodeError):
            return "silent"
        return "late" if overdue else "clear"


def _task(work: Coroutine[Any, Any, None], endpoint: Endpoint) -> asyncio.Task[None]:
    return asyncio.get_running_loop().create_task(work, name=f"watch {endpoint.replica}")
