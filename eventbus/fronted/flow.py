"""How far events may be ahead in the broker in front of those that their bridge has brought into the store.

Brokers keep a bounded queue for a session that is slower than its publishers, and drop what is too much in silence,
acknowledged or not. So a process has no more than WINDOW events on the way; it sees in the store which have arrived.
The bridge keeps the order, so an event that is seen also says that those before it are no longer on the way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from datetime import UTC, datetime

from eventbus.bus import EventBus
from eventbus.cloudevents import Malformed, dedupe_id, heading
from eventbus.errors import BusError

WINDOW = 200
"""Events of one process and subject; mosquitto keeps 1,000 for a session, of all processes."""
REST = 30.0
"""Seconds without publishes after which the store is watched no longer."""
AGAIN = 0.5
REMEMBERED = 4096

log = logging.getLogger(__name__)


class Flow:
    """The events of one subject that this process has on the way."""

    def __init__(self, store: EventBus, subject: str) -> None:
        self._store, self.subject = store, subject
        self.turn = asyncio.Lock()  # fair: whoever comes first publishes first
        self._ahead: dict[str, None] = {}
        """Identities, oldest first."""
        self._recent: OrderedDict[str, None] = OrderedDict()
        """What was seen lately: published again it is absorbed, and never seen."""
        self._moved = asyncio.Event()
        self._watching: asyncio.Task[None] | None = None
        self._used = 0.0
        self.bridged: bool | None = None
        """Whether a bridge reads the subject; None: never asked."""
        self.asked = 0.0
        self.lost = 0
        """Events that the broker acknowledged and did not hand to the bridge."""

    @property
    def busy(self) -> bool:
        return bool(self._ahead) or self.turn.locked() or (self._watching is not None and not self._watching.done())

    async def room(self) -> None:
        """Wait until one more may be on the way; the holder of the turn asks."""
        self._used = time.monotonic()
        if self._watching is None or self._watching.done():
            self._watching = asyncio.get_running_loop().create_task(self._watch(datetime.now(UTC)))
        while len(self._ahead) >= WINDOW:
            self._moved.clear()
            await self._moved.wait()

    def sent(self, identity: str) -> None:
        if identity not in self._recent:
            self._ahead[identity] = None

    def failed(self, identity: str) -> None:
        """The broker has not acknowledged it; it may come yet."""
        self._ahead.pop(identity, None)
        self._moved.set()

    async def _watch(self, since: datetime) -> None:
        while self._ahead or time.monotonic() - self._used < REST:
            events = self._store.tail(self.subject, since=since)
            try:
                async with asyncio.timeout(REST):
                    async for incoming in events:
                        since = datetime.fromtimestamp(incoming.published, UTC) if incoming.published else since
                        self._seen(incoming.payload)
            except TimeoutError:
                continue
            except BusError:
                await asyncio.sleep(AGAIN)  # the store restarts
            finally:
                await events.aclose()  # type: ignore[attr-defined]  # every backend's is a generator

    def _seen(self, payload: bytes) -> None:
        try:
            read = heading(payload)
        except Malformed:
            return
        # bytes alone become an event of the bridge's, of which only the id is known here
        identity = read.id if read.id in self._ahead else dedupe_id(read.source, read.id)
        self._recent[identity] = None
        if len(self._recent) > REMEMBERED:
            self._recent.popitem(last=False)
        if identity not in self._ahead:
            return
        passed = 0
        for before in list(self._ahead):
            del self._ahead[before]
            if before == identity:
                break
            passed += 1
        if passed:
            self.lost += passed
            log.warning("%d events of %s were acknowledged by the broker and not delivered", passed, self.subject)
        self._moved.set()

    def stop(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
