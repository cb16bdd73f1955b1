"""The bus whose front is an MQTT broker: published there, stored and consumed from the namespace's durable bus.

MQTT keeps nothing for a subscriber that comes later, says nothing of what waits and sends a member's messages to nobody
else, so it is never the store. A bridge per subject, one session hosted by one proxy, brings what the broker receives
into the store: our own events as they are, foreign messages as events (triggers/sources/mqtt.py). The broker keeps
messages for a session only after it subscribed, so a subject's subscriptions count as open when its bridge stands.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import suppress
from datetime import datetime, timedelta

from api.meta import Key
from api.model import Bus, Option, Subscription
from eventbus import cloudevents
from eventbus.bus import DeadLetter, Deliver, EventBus, Incoming, Intake, Lost
from eventbus.errors import BusError, LagUnknown, TooLarge, Unreachable
from eventbus.mqtt.address import read_address
from eventbus.mqtt.flow import Flow
from eventbus.mqtt.link import Link
from eventbus.mqtt.topics import topic_of
from eventbus.mqtt.wire import SESSION_EXPIRY
from eventbus.raw import NOTHING
from eventbus.state import Conflict, StateStore
from eventbus.subjects import token

DEADLINE = 9.0
"""Seconds until a publish that is not acknowledged raises; a caller is told within ten."""
MAX_EVENT = (4 << 20) - 4096
"""Bytes: what the broker acknowledges must fit into the store too."""
READ, FORGOTTEN = b"1", b"0"
"""Marks of a subject whose bridge has subscribed: it is read, or a subscription of it was forgotten since."""
MOST_FLOWS = 4096
"""Subjects that are remembered although nothing of them is on the way."""
ASK_EVERY = 5.0
"""Seconds after which a mark is looked at again."""
STANDS_FOR = timedelta(seconds=SESSION_EXPIRY)
"""How long the broker keeps the session of a bridge that is away, and so how long its mark is good."""


class MqttBus:
    """See eventbus.bus.EventBus. Options: url, user, password, tls, caCert, clientCert, clientKey."""

    kind = "mqtt"

    def __init__(
        self, bus: Bus, resolve: Callable[[Option], str], *, store: EventBus, deadline: float = DEADLINE
    ) -> None:
        options = {name: resolve(value) for name, value in bus.options.items()}
        self.key = bus.key
        self.store = store
        """Where the bridges publish, and subscriptions are read."""
        self._deadline = deadline
        self._address = read_address(options)
        self._running: asyncio.Task[None] | None = None
        self._link: Link | None = None
        self._bridged: set[str] = set()
        """Subjects whose bridge stood when it was last looked for."""
        self._flows: dict[str, Flow] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def connect(self) -> str:
        """Connect to the store; the MQTT broker may come later, what is stored is delivered meanwhile."""
        stored = await self.store.connect()
        if self._running is None:
            self._link = Link(self._address, f"evoke-{uuid.uuid4().hex[:16]}", clean=True)
            self._running = asyncio.get_running_loop().create_task(self._link.run(), name=f"mqtt of {self.key}")
        return f"mqtt at {self._address}, stored in {stored}"

    @property
    def connected(self) -> bool:
        return self._link is not None and self._link.connected and self.store.connected

    @property
    def trouble(self) -> BusError | None:
        """Why it is not connected; None: nothing is known."""
        if self._link is not None and (trouble := self._link.trouble):
            return trouble
        return getattr(self.store, "trouble", None)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        key: str = "",
        dedupe: str = "",  # noqa: ARG002  # the bridge absorbs duplicates by the event's own source and id
        output: bool = False,  # noqa: ARG002  # the MQTT broker knows no shares of a store
        metadata: Mapping[str, str] = NOTHING,  # noqa: ARG002  # read where the bus is a component's
    ) -> None:
        read = cloudevents.heading(payload)
        if key and key != read.partitionkey:
            payload = cloudevents.with_key(payload, read, key)
        if len(payload) > MAX_EVENT:
            raise TooLarge(f"the event has {len(payload)} bytes, the bus takes {MAX_EVENT}")
        link = self._link
        if link is None:
            raise Unreachable(f"event bus {self.key} is not connected yet")
        identity, flow = cloudevents.dedupe_id(read.source, read.id), self._flow(subject)
        due = time.monotonic() + self._deadline
        try:
            async with asyncio.timeout(self._deadline), flow.turn:
                if await self._engaged(flow, subject):
                    await flow.room()
                    flow.sent(identity)
                number = link.submit(topic_of(subject), payload, cloudevents.STRUCTURED)
        except TimeoutError:
            raise Unreachable(
                f"{subject} waits in {self._address} for its bridge; nothing was published",
                hint="see the condition of the event bus",
            ) from None
        try:
            await link.acknowledged(number, due - time.monotonic())
        except BusError:
            flow.failed(identity)
            raise

    def _flow(self, subject: str) -> Flow:
        if subject not in self._flows:
            if len(self._flows) >= MOST_FLOWS:
                self._flows = {name: flow for name, flow in self._flows.items() if flow.busy}
            self._flows[subject] = Flow(self.store, subject)
        return self._flows[subject]

    async def _engaged(self, flow: Flow, subject: str) -> bool:
        """Whether a bridge reads the subject, asked now and then."""
        now = time.monotonic()
        if flow.bridged is None or now - flow.asked > ASK_EVERY:
            flow.asked = now
            asking = asyncio.get_running_loop().create_task(self._ask(flow, subject))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            if flow.bridged is None:
                await asyncio.shield(asking)
        return bool(flow.bridged)

    async def _ask(self, flow: Flow, subject: str) -> None:
        try:
            marks = await self._marks()
            flow.bridged = marks is not None and (await marks.get(self._mark(subject))).value == READ
        except BusError:
            flow.bridged = bool(flow.bridged)  # as far as is known; without the store nothing is brought anyway

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> Intake:
        return await self.store.open(subscription, worker=worker, deliver=deliver, lost=lost)

    async def lag(self, subscription: Subscription) -> int:
        """As the store knows it; unknown while nothing is brought there."""
        if not await self._stands(subscription.subject):
            raise LagUnknown(f"nothing brings {subscription.subject} from {self._address} into the store yet")
        return await self.store.lag(subscription)

    async def _stands(self, subject: str) -> bool:
        if subject not in self._bridged:
            marks = await self._marks()
            if marks is not None and not (await marks.get(self._mark(subject))).value:
                return False
            self._bridged.add(subject)
        return True

    async def bridged(self, subject: str) -> None:
        """The bridge of *subject* has subscribed: from now on the broker keeps for it what is published. Say it again
        well within STANDS_FOR."""
        marks = await self._marks()
        if marks is not None:
            name = self._mark(subject)
            with suppress(Conflict):  # another bridge of this subject said so just now
                await marks.put(name, READ, (await marks.get(name)).revision)
        self._bridged.add(subject)
        self._flow(subject).bridged = True

    async def _marks(self) -> StateStore | None:
        return await self.store.state("bridges", ttl=STANDS_FOR)

    def _mark(self, subject: str) -> str:
        return token(f"{self.key} {subject}")

    async def forget(self, subscription: Subscription) -> None:
        """Nobody may read the subject any more; if somebody does, its bridge will say so again."""
        await self.store.forget(subscription)
        marks, name = await self._marks(), self._mark(subscription.subject)
        if marks is not None and (found := await marks.get(name)).value:
            with suppress(Conflict):
                await marks.put(name, FORGOTTEN, found.revision)

    def tail(self, subject: str, *, since: datetime | None = None) -> AsyncIterator[Incoming]:
        return self.store.tail(subject, since=since)

    def dead_letters(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        return self.store.dead_letters(subscription)

    async def purge_dead_letters(self, subscription: Key, ids: Collection[str] | None = None) -> int:
        return await self.store.purge_dead_letters(subscription, ids)

    async def replay(self, letter: DeadLetter) -> None:
        await self.store.replay(letter)

    async def trim(self, subjects: Mapping[str, Collection[Subscription]]) -> None:
        await self.store.trim(subjects)

    async def state(self, name: str, *, ttl: timedelta) -> StateStore | None:
        return await self.store.state(name, ttl=ttl)

    async def close(self) -> None:
        for flow in self._flows.values():
            flow.stop()
        if self._running is not None:
            self._running.cancel()
            await asyncio.gather(self._running, return_exceptions=True)
            self._running = None
        await self.store.close()
