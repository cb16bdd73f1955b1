"""Names on the broker: streams, subjects, consumers and keys, all from the neutral model and all pure.

One stream per topic. An event stands on ``ev.<bus>.<topic>.<partition>.<type>.<source>``, what is replayed to one
subscription only on ``ev.<bus>.<topic>.r.<member>`` of the same stream: one sequence, one floor. The 16 partitions are
virtual and fixed for ever: owners may split them, type and source can be filtered by the broker.
"""

from __future__ import annotations

import hashlib
import re
from zlib import crc32

import msgspec

from api.meta import Key
from api.model import Subscription

PARTITIONS = 16

_SAFE = re.compile(r"[A-Za-z0-9_-]{1,48}")
_UNSAFE = re.compile(r"[^A-Za-z0-9_-]+")


def token(text: str) -> str:
    """One subject token for any text: itself where that is safe, else a readable stem, ``=`` and a hash.

    ``=`` is in no safe text, so the two never meet.
    """
    if _SAFE.fullmatch(text):
        return text
    return f"{_UNSAFE.sub('_', text)[:24]}={hashlib.sha256(text.encode()).hexdigest()[:16]}"


def partition(key: str) -> int:
    """The fixed virtual partition of an ordering key."""
    return crc32(key.encode()) % PARTITIONS


class Topic(msgspec.Struct, frozen=True):
    """The names of one topic of one bus."""

    bus: str
    topic: str

    @property
    def stream(self) -> str:
        return f"EV_{self.bus}_{self.topic}"

    @property
    def subjects(self) -> str:
        """Everything in the stream."""
        return f"ev.{self.bus}.{self.topic}.>"

    @property
    def events(self) -> str:
        """Every event, without replays."""
        return f"ev.{self.bus}.{self.topic}.*.*.*"

    def event(self, spread: str, type_: str, source: str) -> str:
        """Where an event is published; *spread* is its key, or its id when it has none."""
        return f"ev.{self.bus}.{self.topic}.{partition(spread)}.{token(type_)}.{token(source)}"

    @property
    def barrier(self) -> str:
        """In the stream, but where nothing is stored and nobody listens."""
        return f"ev.{self.bus}.{self.topic}.b"

    def replay(self, member: str) -> str:
        return f"ev.{self.bus}.{self.topic}.r.{member}"


def bus_token(bus: Key) -> str:
    """Resource names hold no underscore, so the join is one to one."""
    return token(f"{bus.namespace}_{bus.name}")


def topic(bus: Key, subject: str) -> Topic:
    return Topic(bus_token(bus), token(subject))


def all_topics(bus: Key) -> str:
    """Every event of every topic of a bus."""
    return f"ev.{bus_token(bus)}.*.*.*.*"


def all_subjects(bus: Key) -> str:
    """Every stream of a bus has one that this matches."""
    return f"ev.{bus_token(bus)}.>"


def member(group: str, subject: str) -> str:
    """Who shares one floor: a group on a topic. The same group name on another topic is another floor."""
    return token(f"{group} {subject}")


def member_of(subscription: Subscription) -> str:
    return member(subscription.group, subscription.subject)


def letter_stream(bus: Key) -> str:
    return f"DLQ_{bus_token(bus)}"


def letters(bus: Key, subscription: Key | None = None) -> str:
    """Dead letters of one subscription, or of the bus."""
    return f"dlq.{bus_token(bus)}.{_name(subscription)}.>" if subscription else f"dlq.{bus_token(bus)}.>"


def letter(bus: Key, subscription: Key, stream: str, id: str) -> str:  # noqa: A002  # as in DeadLetter
    """Where exactly one letter may stand."""
    return f"dlq.{bus_token(bus)}.{_name(subscription)}.{stream}.{id}"


def _name(subscription: Key) -> str:
    return token(f"{subscription.namespace}_{subscription.name}")
