"""Attempts without a reply: not tried again until their replica confirmed, or is gone, or has had time enough.

Python cannot cancel a thread, so an attempt that timed out may run on while its retry would start elsewhere: two events
of one key at once. A replica whose address refuses connections is gone, and with it whatever it ran. One that still
answers keeps its events until the attempt's deadline and the grace after it, in which the framework ends them itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from api.frames import Endpoint
from proxy.wiring import Wiring
from replicas.errors import ConnectFailed, ReplicaError

PROBE_EVERY = 0.25
PROBE_TIMEOUT = 2.0
GRACE = 10.0
"""Seconds past the deadline of the attempt after which a replica that ignores deadlines is no longer waited for."""


class Suspects:
    """Watches over the replicas that owe a reply."""

    def __init__(self, wiring: Wiring) -> None:
        self._wiring = wiring
        self.watches: set[asyncio.Task[None]] = set()

    def watch(self, endpoint: Endpoint, deadline: float, confirmed: Callable[[], None]) -> None:
        """Call *confirmed* once the replica cannot be running what it was sent; *deadline* is monotonic."""
        task = asyncio.get_running_loop().create_task(
            self._watch(endpoint, deadline, confirmed), name=f"watch {endpoint.replica}"
        )
        self.watches.add(task)
        task.add_done_callback(self.watches.discard)

    async def _watch(self, endpoint: Endpoint, deadline: float, confirmed: Callable[[], None]) -> None:
        stuck = self._wiring.stuck
        late = False
        while self._wiring.clock() < deadline + GRACE and not await self._gone(endpoint):
            if not late and self._wiring.clock() >= deadline:
                late = True
                stuck[endpoint.replica] += 1
                self._wiring.changed()
            await asyncio.sleep(PROBE_EVERY)
        if late:
            stuck[endpoint.replica] -= 1
            if not stuck[endpoint.replica]:
                del stuck[endpoint.replica]
        confirmed()

    async def _gone(self, endpoint: Endpoint) -> bool:
        try:
            response = await self._wiring.http.request(endpoint.address, "GET", "/healthz", [], timeout=PROBE_TIMEOUT)
            await response.close()
        except ConnectFailed:
            return True
        except ReplicaError:
            return False
        return False
