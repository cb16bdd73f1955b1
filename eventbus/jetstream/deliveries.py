"""The wire of JetStream's pulls: what is asked, where it goes, and what an answer means; pure.

Replies of messages and headers of ends: ADR-13 and ADR-15 of nats-architecture-and-design.
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from eventbus.jetstream.api import API, NANOSECONDS
from eventbus.jetstream.connection import Message, status

_ACKS = "$JS.ACK."
_PLAIN = 9
"""Tokens of a reply without domain and account; with them there are eleven and more."""


class Delivered(NamedTuple):
    """Where a message stands in its stream."""

    seq: int
    nanoseconds: int
    """When it was stored, since 1970."""


class Ended(NamedTuple):
    """What is no message."""

    code: str
    """``100``: the pull goes on."""
    left: int | None
    """Messages of the pull that will not come; None: the consumer is gone."""
    description: str

    @property
    def heartbeat(self) -> bool:
        return self.code == "100"


def target(stream: str, consumer: str, api: str = API) -> str:
    """Where pulls of a consumer go."""
    return f"{api}.CONSUMER.MSG.NEXT.{stream}.{consumer}"


def request(batch: int, *, expires: float, heartbeat: float = 0.0, max_bytes: int = 0) -> bytes:
    """A pull of up to *batch* messages; times in seconds, 0: none."""
    pull = {"batch": batch, "expires": int(expires * NANOSECONDS)}
    if max_bytes:
        pull["max_bytes"] = max_bytes
    if heartbeat:
        pull["idle_heartbeat"] = int(heartbeat * NANOSECONDS)
    return msgspec.json.encode(pull)


def delivered(message: Message) -> Delivered | None:
    """None: it is the end of a pull, or a heartbeat."""
    if not message.reply.startswith(_ACKS):
        return None
    tokens = message.reply.split(".")
    at = 5 if len(tokens) == _PLAIN else 7
    return Delivered(int(tokens[at]), int(tokens[at + 2]))


def ended(message: Message) -> Ended:
    """Why a pull ended, with what it left undelivered where it ran out."""
    headers = message.headers or {}
    left = headers.get("Nats-Pending-Messages")
    return Ended(status(headers), None if left is None else int(left), headers.get("Description", ""))
