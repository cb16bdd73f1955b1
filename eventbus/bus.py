"""The contract between a broker backend and everything above it.

A backend stores events in subjects, hands a subscription's events to its one owner in order, keeps that owner's
progress, and tells how much waits. It never decides what to deliver: the pure Window in proxy/ does, the same for every
backend. Three brokers shape this contract:

- progress is a floor per share plus the set done above it (Kafka: offset, commit metadata; JetStream: ack floor, KV);
- attempts are recorded by us, never read from broker counters;
- there is no nack: what is not done stays above the floor.

A *share* is one sequence space of a subscription: always 0 on JetStream and memory, the partition on Kafka.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec

from api.meta import Key
from api.model import Subscription
from eventbus.raw import NOTHING
from eventbus.state import StateStore


class Incoming(msgspec.Struct, frozen=True):
    """One event as stored: structured CloudEvents JSON, never re-encoded on its way to the replica."""

    share: int
    seq: int
    key: str
    """Ordering key; empty: none."""
    payload: bytes
    published: float = 0.0
    """Unix seconds at which the bus stored it; 0 when unknown."""
    flaw: str = ""
    """Why *payload* is no event, from a bus that others write to: it goes to the dead letters as ``malformed``."""
    metadata: Mapping[str, str] = NOTHING
    """What the broker says beside it, on the bus of a Dapr component: headers, and names that begin with ``__``."""


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """Record of failed attempts of one event, written before its backoff starts."""

    count: int
    not_before: float
    """Unix seconds."""
    error: str = ""


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """What a new owner takes over, per share."""

    floors: Mapping[int, int] = {}
    """Share -> highest sequence up to which everything is done."""
    done: Mapping[int, Collection[int]] = {}
    """Share -> sequences above the floor that are done."""
    attempts: Mapping[tuple[int, int], Attempt] = {}


class DeadLetter(msgspec.Struct, frozen=True, kw_only=True):
    """One event that will not be tried again, with its original bytes."""

    id: str
    """Stable id of the letter: ``<share>-<seq>``."""
    subscription: Key
    trigger: str
    subject: str
    group: str = ""
    """Group of the subscription; Intake.dead_letter fills it in, replay() needs it."""
    reason: str
    """``max-attempts``, ``rejected``, ``expired``, ``malformed``, ``loop``, ``unroutable``, ``unmatched``."""
    error: str = ""
    attempts: int = 0
    at: datetime
    event_id: str = ""
    event_source: str = ""
    key: str = ""
    payload: bytes


class Intake(Protocol):
    """One owner's hold on one subscription, at one epoch. Callbacks run on the event loop and must not block."""

    epoch: int
    """Rises with every takeover, but counts nothing: on JetStream the first owners of a bus have 1, 2, 3..."""
    progress: Progress

    @property
    def fresh(self) -> bool:
        """Ownership was renewed within the last 4 s of monotonic time; checked before every POST."""
        ...

    def request(self, events: int) -> None:
        """Ask for up to *events* more; what is outstanding adds up. Returns at once."""
        ...

    def outstanding(self) -> int:
        """Events asked for and not yet received."""
        ...

    async def read(self, share: int, seq: int) -> bytes:
        """Payload of one stored event again (parked heads drop theirs)."""
        ...

    async def commit(self, share: int, floor: int, done: Collection[int]) -> None:
        """Everything up to *floor* is finished, and *done* above it. Idempotent; never moves back."""
        ...

    async def record_attempt(self, share: int, seq: int, attempt: Attempt) -> None:
        """Store a failed attempt durably; raises BusError when it is not stored."""
        ...

    async def dead_letter(self, letter: DeadLetter, share: int, seq: int) -> None:
        """Store the letter exactly once (a second call is a success); raises DeadLetterRefused."""
        ...

    async def pending(self) -> int:
        """Events stored past the last one received; raises LagUnknown or BusError."""
        ...

    async def arm(self, bell: Callable[[], None]) -> int:
        """Arm the doorbell: *bell* runs when an event is stored after this call. Returns pending() read after arming,
        so that no event falls between the two.

        A bell may ring a moment before its event is stored and for a duplicate that never is: answer it with
        request(), which waits for the event, not with pending(). It rings for every event until disarm().
        """
        ...

    async def disarm(self) -> None: ...

    async def close(self) -> None:
        """Give up ownership; progress stays."""
        ...


Deliver = Callable[[Sequence[Incoming]], None]
Lost = Callable[[str], None]
"""Called once with the reason when ownership or the connection for good is lost; the owner must stop.

A broken connection alone does not call it: the intake goes on at the same epoch when the connection is back, what was
delivered before is not delivered again, and meanwhile ``fresh`` turns False. The owner calls open() again after Lost,
if it still is assigned.
"""


class EventBus(Protocol):
    """One named bus. Every method raises BusError subclasses only."""

    kind: str

    async def connect(self) -> str:
        """Connect; answer one line for people (``nats 2.15.1, on disk``)."""
        ...

    @property
    def connected(self) -> bool: ...

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
        """Store one structured CloudEvent; returns only when the bus has acknowledged it.

        *metadata*: what goes beside it where the broker has a place for that (headers of Kafka, ``retain`` of MQTT);
        passed over elsewhere. An event that only carries bytes (raw.py) reaches a broker that others read as those.

        *key*: becomes the event's partitionkey where that differs. *dedupe*: sha1 of source NUL id (see
        cloudevents.dedupe_id), absorbed for two minutes. *output*: published by a function, which may use the part of
        the store that outside publishers may not. Calls that overlap are stored in the order in which they were made,
        a broken connection between them included. Raises Malformed, TooLarge, BusFull, or Unreachable at the latest
        after 10 s: then the event may or may not be stored.
        """
        ...

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> Intake:
        """Take ownership: raise the epoch, read the floor, fence the old owner, then accept requests.

        Where there is progress it goes on from there, whatever *start* says; without any, ``all`` starts at the oldest
        stored event, ``new`` and ``resume`` after the newest.
        """
        ...

    async def lag(self, subscription: Subscription) -> int:
        """Events stored and not yet below the floor, without owning anything; raises LagUnknown."""
        ...

    async def forget(self, subscription: Subscription) -> None:
        """Delete the subscription's consumer, progress and attempts (its Trigger was deleted). Dead letters stay.

        With start ``resume`` the progress stays too: that is what a trigger of the same name resumes from.
        """
        ...

    def tail(self, subject: str, *, since: datetime | None = None) -> AsyncIterator[Incoming]:
        """Events of a subject (``>`` for all) as they come, on an own ephemeral consumer."""
        ...

    def dead_letters(self, subscription: Key) -> AsyncIterator[DeadLetter]:
        """Letters of one subscription, oldest first; ends."""
        ...

    async def purge_dead_letters(self, subscription: Key, ids: Collection[str] | None = None) -> int:
        """Delete letters (None: all); answers how many."""
        ...

    async def replay(self, letter: DeadLetter) -> None:
        """Hand the letter's event to its subscription again, to that one only, and delete the letter."""
        ...

    async def trim(self, subjects: Mapping[str, Collection[Subscription]]) -> None:
        """Drop what every subscription of a subject has passed, but for the newest few (bus option ``retain``).

        A subject with a subscription that was never opened is left alone. One that is not named, or named without
        subscriptions, is read by nobody: it is emptied only when it is half full, so that it never refuses an output.
        """
        ...

    async def state(self, name: str, *, ttl: timedelta) -> StateStore | None:
        """Cells that share *name*, each forgotten *ttl* after its last change; None: this broker keeps no state, use
        that of the platform's own."""
        ...

    async def close(self) -> None: ...
