"""Events as inputs of a join: the state in a cell shared by all proxies, what fires on the join's subject.

The order of writes is that of triggers/joins.py: store, publish, settle. Whoever finds something that fired and was not
settled publishes it again, and the bus drops what it has.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from datetime import timedelta
from weakref import WeakValueDictionary

from api.frames import Endpoint
from api.meta import Key
from api.model import Join, JoinSink
from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed, heading
from eventbus.errors import BusError
from eventbus.state import Conflict, StateStore
from proxy.hops import with_hops
from proxy.lanes import Entry
from proxy.outcomes import DONE, Outcome
from triggers import joins
from triggers.joins import Event, Fired

DEFAULT_BUS = "default"
"""Keeps the state where the join's own bus keeps none."""
TRIES = 50
"""Rounds against others who change the same cell at the same time; one of them gets through in each."""
MINUTE = 60.0


class JoinReceiver:
    def __init__(self, sink: JoinSink, bus: Callable[[Key], EventBus], join: Callable[[Key], Join | None]) -> None:
        """*join* answers with the join as it is declared now."""
        self._sink, self._bus, self._join = sink, bus, join
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._stores: dict[str, StateStore] = {}

    async def post(self, endpoint: Endpoint, batch: Sequence[Entry], wall: float) -> list[Outcome]:  # noqa: ARG002  # a sink has one place
        return [await self._take(entry, wall) for entry in batch]

    async def _take(self, entry: Entry, wall: float) -> Outcome:
        join = self._join(self._sink.join)
        if join is None:
            return Outcome("failed", f"join {self._sink.join} is not declared")
        payload = entry.payload or b""
        try:
            cell = joins.state_key(join, payload)
            if cell is None:
                return DONE  # it lacks what the events share: it can never find the others
            event = Event(heading(payload), payload)
            # one at a time of this input; those of other inputs and proxies meet in the cell
            async with self._locks.setdefault(cell, asyncio.Lock()):
                # when the bus stored it, not when its turn came: a backlog must not bring together what was apart
                return await self._advance(join, cell, event, entry.published or wall)
        except (joins.TooLarge, Malformed) as error:
            return Outcome("rejected", str(error))
        except (BusError, joins.BadState) as error:
            self._stores.clear()
            return Outcome("failed", str(error))

    async def _advance(self, join: Join, key: str, event: Event, now: float) -> Outcome:
        store = await self._store(join)
        for _ in range(TRIES):
            cell = await store.get(key)
            before = joins.decode(cell.value)
            if before.pending is not None:
                await self._publish(join, before.pending)
            state, fired = joins.advance(joins.settled(before), join, self._sink.input, event, now)
            try:
                revision = await store.put(key, joins.encode(state), cell.revision)
            except Conflict:
                continue
            if fired is not None:
                await self._publish(join, fired)
                await self._settle(store, key, joins.encode(joins.settled(state)), revision)
            return DONE
        return Outcome("failed", "others changed the same state all the time")

    @staticmethod
    async def _settle(store: StateStore, key: str, value: bytes, revision: int) -> None:
        with contextlib.suppress(BusError):  # whoever reads the cell next publishes once more, and the bus drops that
            await store.put(key, value, revision)

    async def _publish(self, join: Join, fired: Fired) -> None:
        payload = with_hops(fired.payload, fired.hops + 1)
        bus = self._bus(join.bus)
        await bus.publish(join.subject, payload, key=fired.key, dedupe=fired.dedupe, output=True)

    async def _store(self, join: Join) -> StateStore:
        name, ttl = _bucket(join)
        if name not in self._stores:
            store = await self._bus(join.bus).state(name, ttl=ttl)
            if store is None:
                store = await self._bus(Key(join.bus.namespace, DEFAULT_BUS)).state(name, ttl=ttl)
            if store is None:
                raise BusError(f"neither bus {join.bus} nor the default one of its namespace keeps state")
            self._stores[name] = store
        return self._stores[name]


def _bucket(join: Join) -> tuple[str, timedelta]:
    """Name and lifetime of the cells: all of one name live equally long, so that is rounded up to few values."""
    minutes = 2
    while minutes * MINUTE < joins.lifetime(join).total_seconds():
        minutes *= 2
    return f"joins-{minutes}m", timedelta(minutes=minutes)
