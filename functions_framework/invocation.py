"""The call that is running: which event or request, which attempt, until when. Threads and tasks each see their own."""

from __future__ import annotations

import hashlib
import time
import uuid
from contextvars import ContextVar
from typing import Any

from functions_framework.event import CloudEvent


class Invocation:
    """One attempt at one event or request; made for every event, so it holds slots and computes the rest on demand."""

    __slots__ = ("attempt", "call", "event", "expires", "sent", "traceparent", "trigger")

    def __init__(
        self,
        *,
        call: str = "",
        event: CloudEvent | None = None,
        attempt: int = 1,
        expires: float | None = None,
        trigger: str = "",
        traceparent: str = "",
    ) -> None:
        self.call = call
        self.event = event
        self.attempt = attempt
        self.expires = expires
        """Seconds of the monotonic clock, None: no limit. The platform says how long an attempt may take, not until
        what time of day: its clock may not be ours."""
        self.trigger = trigger
        self.traceparent = traceparent
        self.sent = 0
        """Events sent so far: tells their ids apart."""

    @property
    def left(self) -> float | None:
        """Seconds until the platform gives this attempt up, never negative; None: it never does."""
        return None if self.expires is None else max(0.0, self.expires - time.monotonic())

    @property
    def event_id(self) -> str:
        """Identity of the event, empty for a plain request."""
        return str(self.event.get("id", "")) if self.event is not None else ""

    @property
    def event_key(self) -> str:
        """What identifies the event over every attempt and duplicate: a digest of source and id."""
        if self.event is None:
            return ""
        return event_key(str(self.event.get("source", "")), str(self.event.get("id", "")))


def event_key(source: str, identity: str) -> str:
    """Digest of (source, id), the pair that identifies an event."""
    return hashlib.sha1(f"{source}\0{identity}".encode(), usedforsecurity=False).hexdigest()


def new_call() -> str:
    """Return an execution id of twelve letters and digits, as Google's are."""
    return uuid.uuid4().hex[:12]


running: ContextVar[Invocation | None] = ContextVar("functions_framework_invocation", default=None)


def of_request(headers: dict[bytes, bytes], call: str) -> Invocation:
    """Invocation that a request's headers describe; what cannot be read counts as absent."""
    timeout = _number(headers.get(b"evoke-timeout"), float, None)
    return Invocation(
        call=call,
        attempt=_number(headers.get(b"evoke-attempt"), int, 1),
        expires=None if timeout is None else time.monotonic() + timeout,
        trigger=headers.get(b"evoke-trigger", b"").decode("latin-1"),
        traceparent=headers.get(b"traceparent", b"").decode("latin-1"),
    )


def _number(raw: bytes | None, kind: Any, default: Any) -> Any:
    try:
        return default if raw is None else kind(raw)
    except ValueError:
        return default
