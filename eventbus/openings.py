"""Publishes that wait for their subscribers: nothing is stored on a subject before its declared subscriptions exist.

A subscription that starts at "new" begins behind what is stored when it is first opened. Source, functions and
subscriptions of one manifest come up in any order and in several processes, so whoever publishes asks the bus itself
whether each declared subscription of the subject was opened once, and remembers the answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias, cast

from api.meta import Key
from api.model import Subscription
from eventbus.bus import EventBus
from eventbus.errors import BusError, Unreachable
from eventbus.raw import NOTHING

PATIENCE = 5.0
"""Seconds for which a publish waits; then it fails, and whoever published tries again."""
PROBE_EVERY = 0.05

Place: TypeAlias = tuple[Key, str]
"""Bus and subject."""


class _Queue:
    """Those who wait to publish on one subject; whoever comes while one of them is left waits behind him."""

    def __init__(self) -> None:
        self.turn = asyncio.Lock()  # fair: first come, first served
        self.users = 0
        self.trouble = ""


class Openings:
    """The declared subscriptions, and which of them are known to have been opened."""

    def __init__(self, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._declared: dict[Place, dict[Key, Subscription]] = {}
        self._unopened: dict[Place, dict[Key, Subscription]] = {}
        self._queues: dict[Place, _Queue] = {}
        self._wide: dict[Key, list[str]] = {}
        """Declared subjects that end in a ``*``."""

    def declare(self, subscriptions: Iterable[Subscription]) -> None:
        """These are all the subscriptions there are; what is new among them may never have been opened."""
        declared: dict[Place, dict[Key, Subscription]] = {}
        for one in subscriptions:
            declared.setdefault((one.bus, one.subject), {})[one.key] = one
        unopened: dict[Place, dict[Key, Subscription]] = {}
        for place, mine in declared.items():
            known = self._declared.get(place, {}).keys() - self._unopened.get(place, {}).keys()
            if new := {key: one for key, one in mine.items() if key not in known}:
                unopened[place] = new
        self._declared, self._unopened = declared, unopened
        self._wide = {}
        for key, subject in sorted(declared):
            if subject.endswith("*"):
                self._wide.setdefault(key, []).append(subject)

    def wider(self, key: Key, subject: str) -> list[str]:
        """Declared subjects with a ``*`` at their end that mean *subject* too, as Dapr's in-memory topics do."""
        wide = self._wide.get(key, ())
        return [name for name in wide if len(subject) >= len(name) and subject.startswith(name[:-1])]

    def unopened(self, key: Key, reads: Callable[[str], bool]) -> list[str]:
        """Subjects of a bus with a subscription that may never have been opened, those that *reads* says."""
        return [name for bus, name in self._unopened if bus == key and reads(name)]

    async def wait(self, bus: EventBus, key: Key, subject: str) -> None:
        """Return once every declared subscription of *subject* has been opened; at once, as a rule.

        Callers go on in the order in which they came. Raises Unreachable.
        """
        place = (key, subject)
        if place not in self._unopened and place not in self._queues:
            return
        queue = self._queues.setdefault(place, _Queue())
        queue.users += 1
        try:
            async with asyncio.timeout(self._patience), queue.turn:
                while waiting := list(self._unopened.get(place, {}).values()):
                    await self._probe(bus, waiting[0])
                self._unopened.pop(place, None)
        except TimeoutError:
            raise Unreachable(f"a subscription of {subject} is not open yet: {queue.trouble}") from None
        finally:
            queue.users -= 1
            if not queue.users:
                del self._queues[place]

    async def _probe(self, bus: EventBus, one: Subscription) -> None:
        place = (one.bus, one.subject)
        try:
            await bus.lag(one)
        except BusError as error:
            self._queues[place].trouble = str(error)
            await asyncio.sleep(PROBE_EVERY)
        else:
            self._unopened.get(place, {}).pop(one.key, None)


class Gate:
    """An EventBus whose publish() waits for the subscriptions of its subject.

    *wildcards*: subscriptions may end in ``*``. Each is a subject of its own, on which everything that it means is
    stored as well: the broker knows no wildcards of topics.
    """

    def __init__(self, bus: EventBus, key: Key, openings: Openings, *, wildcards: bool = False) -> None:
        self._bus, self._key, self._openings, self._wildcards = bus, key, openings, wildcards
        self._reads: Callable[[str, str], bool] | None = getattr(bus, "reads", None)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        key: str = "",
        dedupe: str = "",
        output: bool = False,
        metadata: Mapping[str, str] = NOTHING,
    ) -> None:
        wider = self._openings.wider(self._key, subject) if self._wildcards else ()
        if wider:
            subjects = [subject, *(one for one in wider if one != subject)]
            # stored together or, by its dedupe id, when the publisher tries again; begun in this order
            await asyncio.gather(
                *(self._publish(one, payload, key, dedupe, output=output, metadata=metadata) for one in subjects)
            )
        else:
            await self._publish(subject, payload, key, dedupe, output=output, metadata=metadata)

    async def _publish(
        self, subject: str, payload: bytes, key: str, dedupe: str, *, output: bool, metadata: Mapping[str, str]
    ) -> None:
        if self._reads is not None:
            reads = self._reads
            for wide in self._openings.unopened(self._key, lambda one: reads(one, subject)):
                await self._openings.wait(self._bus, self._key, wide)
        await self._openings.wait(self._bus, self._key, subject)
        await self._bus.publish(subject, payload, key=key, dedupe=dedupe, output=output, metadata=metadata)

    @property
    def store(self) -> EventBus:
        """What stands behind a bus with an outside broker in front, its publishes waiting alike."""
        behind: EventBus = self.__getattr__("store")
        return cast("EventBus", Gate(behind, self._key, self._openings))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._bus, name)
