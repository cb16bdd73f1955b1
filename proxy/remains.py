"""What subscriptions of this process left on their buses: known on disk until it is forgotten there.

Whoever owned a subscription ends its progress once it is declared no more, or stands elsewhere: at once, when the bus
is there again, or at the next start if it was removed while nobody ran.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import TypeAlias

import msgspec

from api.meta import Key
from api.model import Subscription
from eventbus.errors import BusError
from proxy.buses import Link

log = logging.getLogger(__name__)

FILE = "remains"
"""In the cache directory of the agent."""
AGAIN = 10.0
"""Seconds between two tries while the bus is away."""
LAST_WAIT = 1.0
"""Seconds for which the end of this process waits for a try."""

Place: TypeAlias = tuple[Key, str, str]
"""Bus, subject and group: where a bus keeps progress."""
Task: TypeAlias = "asyncio.Task[None]"


def place(subscription: Subscription) -> Place:
    return subscription.bus, subscription.subject, subscription.group


class Remains:
    def __init__(self, path: Path, link: Callable[[Key], Link | None]) -> None:
        self._path, self._link = path, link
        self._known = {place(one): one for one in _read(path)}
        self._links: dict[Place, Link] = {}
        self._tasks: dict[Place, Task] = {}
        self._saving: asyncio.Handle | None = None

    def add(self, subscription: Subscription, link: Link) -> None:
        """It is about to be opened, or has changed since."""
        where, one = place(subscription), _bare(subscription)
        self._links[where] = link
        if self._known.get(where) != one:
            self._known[where] = one
            self._save_soon()

    def sweep(
        self, declared: Iterable[Subscription], namespaces: Collection[str], ending: Callable[[Key], Task | None]
    ) -> None:
        """Forget what is not among *declared*, which is everything in *namespaces*, once its owner has ended."""
        wanted = {place(one) for one in declared}
        for where, one in self._known.items():
            if where in wanted or where in self._tasks or one.key.namespace not in namespaces:
                continue
            work = self._forget(where, one, ending(one.key))
            self._tasks[where] = asyncio.get_running_loop().create_task(work, name=f"forget {one.key}")

    def forgetting(self, subscription: Subscription) -> Task | None:
        """Progress at this place is being ended: whoever would open it waits for that."""
        return self._tasks.get(place(subscription))

    async def close(self) -> None:
        tasks = list(self._tasks.values())
        if tasks:
            await asyncio.wait(tasks, timeout=LAST_WAIT)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._save()

    async def _forget(self, where: Place, one: Subscription, before: Task | None) -> None:
        try:
            if before is not None:
                await asyncio.wait({before})
            while not await self._forgotten(where, one):  # noqa: ASYNC110  # no event tells that a broker takes it
                await asyncio.sleep(AGAIN)
            del self._known[where]
            self._links.pop(where, None)
            self._save_soon()
        finally:
            del self._tasks[where]

    async def _forgotten(self, where: Place, one: Subscription) -> bool:
        """Try once; True as well where the bus itself is declared no more and cannot be reached."""
        declared = self._link(one.bus)
        link = declared or self._links.get(where)
        if link is None:
            return True
        try:
            async with asyncio.timeout(AGAIN):
                await link.ready.wait()
            await link.bus.forget(one)
        except (BusError, TimeoutError) as error:
            log.warning("progress of %s stays on the bus for now: %s", one.key, error or "it is not connected")
            return declared is None
        return True

    def _save_soon(self) -> None:
        """Once for all that come in one step, and before any of them can be opened."""
        if self._saving is None:
            self._saving = asyncio.get_running_loop().call_soon(self._save)

    def _save(self) -> None:
        if self._saving is None:
            return
        self._saving.cancel()
        self._saving = None
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = self._path.with_suffix(".new")
        new.write_bytes(msgspec.json.encode(list(self._known.values())))
        new.replace(self._path)


def _bare(one: Subscription) -> Subscription:
    """All that forgetting needs."""
    return Subscription(key=one.key, bus=one.bus, subject=one.subject, group=one.group, start=one.start)


def _read(path: Path) -> list[Subscription]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[Subscription])
    except (OSError, msgspec.DecodeError):
        return []
