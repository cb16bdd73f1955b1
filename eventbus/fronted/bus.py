"""A bus whose front is an outside broker: published there, stored and consumed from the namespace's durable bus.

Such a broker cannot be the store: MQTT keeps nothing for a subscriber that comes later and says nothing of what waits,
Redis hands out again what is still in work, and on somebody else's NATS server there is no place for attempts and dead
letters. A bridge per subject, hosted by one proxy, brings what the broker receives into the store: our own events as
they are, foreign messages as events (triggers/sources). The broker keeps messages for it only after it subscribed, so a
subject's subscriptions count as open when its bridge stands.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import datetime, timedelta

from api.meta import Key
from api.model import Bus, Subscription
from eventbus import cloudevents, raw
from eventbus.bus import DeadLetter, Deliver, EventBus, Incoming, Intake, Lost
from eventbus.cloudevents import Heading
from eventbus.errors import BusError, LagUnknown, TooLarge, Unreachable
from eventbus.fronted.flow import Flow
from eventbus.fronted.front import Front, Outgoing
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
STANDS_FOR = timedelta(hours=24)
"""How long the broker keeps what a bridge that is away has not read, and so how long its mark is good."""


class FrontedBus:
    """See eventbus.bus.EventBus."""

    def __init__(self, bus: Bus, front: Front, store: EventBus, *, deadline: float = DEADLINE) -> None:
        self.key = bus.key
        self.kind: str = bus.kind
        self.store = store
        """Where the bridges publish, and subscriptions are read."""
        self._front = front
        self._deadline = deadline
        self._started = False
        self._bridged: set[str] = set()
        """Subjects whose bridge stood when it was last looked for."""
        self._wide: frozenset[str] = frozenset()
        """Subjects with wildcards that are read, as far as this process was told."""
        self._flows: dict[str, Flow] = {}
        self._asking: set[asyncio.Task[None]] = set()

    async def connect(self) -> str:
        """Connect to the store; the broker in front may come later, what is stored is delivered meanwhile."""
        stored = await self.store.connect()
        if not self._started:
            self._front.start()
            self._started = True
        return f"{self._front.where}, stored in {stored}"

    @property
    def connected(self) -> bool:
        return self._started and self._front.connected and self.store.connected

    @property
    def trouble(self) -> BusError | None:
        """Why it is not connected; None: nothing is known."""
        if self._started and (trouble := self._front.trouble):
            return trouble
        return getattr(self.store, "trouble", None)

    async def publish(
        self,
        subject: str,
        payload: bytes,
        *,
        key: str = "",
        dedupe: str = "",
        output: bool = False,  # noqa: ARG002  # the broker in front knows no shares of a store
        metadata: Mapping[str, str] = NOTHING,
    ) -> None:
        read = cloudevents.heading(payload)
        message = _outgoing(payload, read, key, dedupe, metadata)
        if not self._started:
            raise Unreachable(f"event bus {self.key} is not connected yet")
        due = time.monotonic() + self._deadline
        if not self._front.bounded or not (message.content_type or self._front.names):
            await self._front.submit(subject, message, self._deadline)
            return
        identity = cloudevents.dedupe_id(read.source, read.id) if message.content_type else read.id
        flows = self._flows_of(subject)
        try:
            async with asyncio.timeout(self._deadline), AsyncExitStack() as turns:
                for flow in flows:
                    await turns.enter_async_context(flow.turn)
                    if await self._engaged(flow):
                        await flow.room()
                        flow.sent(identity)
                acknowledged = self._front.submit(subject, message, due - time.monotonic())
        except TimeoutError:
            raise Unreachable(
                f"{subject} waits in {self._front.where} for its bridge; nothing was published",
                hint="see the condition of the event bus",
            ) from None
        try:
            await acknowledged
        except BusError:
            for flow in flows:
                flow.failed(identity)
            raise

    def reads(self, subscribed: str, subject: str) -> bool:
        """Whether a subscription with wildcards gets what is published on *subject*."""
        return self._front.wide(subscribed) and self._front.matches(subscribed, subject)

    def _flows_of(self, subject: str) -> list[Flow]:
        """Of every bridge that gets what is published on *subject*, in one order for everybody."""
        matching = {one for one in self._wide if self._front.matches(one, subject)}
        return [self._flow(one) for one in sorted({subject, *matching})]

    def _flow(self, subject: str) -> Flow:
        if subject not in self._flows:
            if len(self._flows) >= MOST_FLOWS:
                self._flows = {name: flow for name, flow in self._flows.items() if flow.busy}
            self._flows[subject] = Flow(self.store, subject)
        return self._flows[subject]

    async def _engaged(self, flow: Flow) -> bool:
        """Whether a bridge reads the flow's subject, asked now and then."""
        now = time.monotonic()
        if flow.bridged is None or now - flow.asked > ASK_EVERY:
            flow.asked = now
            asking = asyncio.get_running_loop().create_task(self._ask(flow))
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
            if flow.bridged is None:
                await asyncio.shield(asking)
        return bool(flow.bridged)

    async def _ask(self, flow: Flow) -> None:
        try:
            marks = await self._marks()
            flow.bridged = marks is not None and (await marks.get(self._mark(flow.subject))).value == READ
        except BusError:
            flow.bridged = bool(flow.bridged)  # as far as is known; without the store nothing is brought anyway

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> Intake:
        self._know((subscription.subject,))
        return await self.store.open(subscription, worker=worker, deliver=deliver, lost=lost)

    def _know(self, subjects: Iterable[str]) -> None:
        self._wide = self._wide.union(filter(self._front.wide, subjects))

    async def lag(self, subscription: Subscription) -> int:
        """As the store knows it; unknown while nothing is brought there."""
        self._know((subscription.subject,))
        if not await self._stands(subscription.subject):
            raise LagUnknown(f"nothing brings {subscription.subject} from {self._front.where} into the store yet")
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
        self._know((subject,))
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
        self._wide = frozenset(filter(self._front.wide, subjects))
        self._bridged.intersection_update(subjects)  # one that is read again later may have lost its session meanwhile
        await self.store.trim(subjects)

    async def state(self, name: str, *, ttl: timedelta) -> StateStore | None:
        return await self.store.state(name, ttl=ttl)

    async def close(self) -> None:
        for flow in self._flows.values():
            flow.stop()
        if self._started:
            self._started = False
            await self._front.close()
        await self.store.close()


def _outgoing(payload: bytes, read: Heading, key: str, dedupe: str, metadata: Mapping[str, str]) -> Outgoing:
    """What the broker gets of one event; raises TooLarge."""
    carried = raw.is_raw(payload)
    body = raw.content(payload) if carried else cloudevents.with_key(payload, read, key)
    if len(body) > MAX_EVENT:
        raise TooLarge(f"the event has {len(body)} bytes, the bus takes {MAX_EVENT}")
    content_type = "" if carried else cloudevents.STRUCTURED
    return Outgoing(payload=body, content_type=content_type, id=read.id, dedupe=dedupe, metadata=metadata)
