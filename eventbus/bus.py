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
from datetime import datetime
from typing import Protocol

import msgspec

from api.meta import Key
from api.model import Subscription


class Incoming(msgspec.Struct, frozen=True):
    """One event as stored: structured CloudEvents JSON, never re-encoded on its way to the replica."""

    share: int
    seq: int
    key: str
    """Ordering key; empty: none."""
    payload: bytes
    published: float = 0.0
    """Unix seconds at which the bus stored it; 0 when unknown."""


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
    reason: str
    """``max-attempts``, ``rejected``, ``expired``, ``malformed``, ``loop``, ``unroutable``."""
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
        so that no event falls between the two."""
        ...

    async def disarm(self) -> None: ...

    async def close(self) -> None:
        """Give up ownership; progress stays."""
        ...


Deliver = Callable[[Sequence[Incoming]], None]
Lost = Callable[[str], None]
"""Called once with the reason when ownership or the connection for good is lost; the owner must stop."""


class EventBus(Protocol):
    """One named bus. Every method raises BusError subclasses only."""

    kind: str

    async def connect(self) -> str:
        """Connect; answer one line for people (``nats 2.15.1, on disk``)."""
        ...

    @property
    def connected(self) -> bool: ...

    async def publish(
        self, subject: str, payload: bytes, *, key: str = "", dedupe: str = "", output: bool = False
    ) -> None:
        """Store one structured CloudEvent; returns only when the bus has acknowledged it.

        *dedupe*: sha1 of source NUL id, absorbed for two minutes. *output*: published by a function, which may use the
        part of the store that outside publishers may not.
        """
        ...

    async def open(self, subscription: Subscription, *, worker: str, deliver: Deliver, lost: Lost) -> Intake:
        """Take ownership: raise the epoch, read the floor, fence the old owner, then accept requests."""
        ...

    async def lag(self, subscription: Subscription) -> int:
        """Events stored and not yet below the floor, without owning anything; raises LagUnknown."""
        ...

    async def forget(self, subscription: Subscription) -> None:
        """Delete the subscription's consumer, progress and attempts (its Trigger was deleted). Dead letters stay."""
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
        """Drop what every subscription of a subject has passed."""
        ...

    async def close(self) -> None: ...
