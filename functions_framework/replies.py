"""What became of an event, and how it is told: Dapr's statuses, with members that Dapr ignores and our proxy reads."""

from __future__ import annotations

import traceback
from typing import Any, Literal

import msgspec

from functions_framework.outcome import Reject, Retry

STILL_RUNNING = "still-running"
"""Reason of a timed-out attempt that could not be cancelled: it may end later, so its key must wait for it."""

MAX_MESSAGE = 1000


class Fault(msgspec.Struct, frozen=True):
    """The exception that ended an attempt."""

    type: str
    message: str
    file: str = ""
    line: int = 0


class Status(msgspec.Struct, frozen=True, omit_defaults=True):
    """Answer for one event: the body of a single delivery's reply, and with an entry id one of a bulk reply."""

    status: Literal["SUCCESS", "RETRY", "DROP"]
    entry_id: str | None = msgspec.field(default=None, name="entryId")
    reason: str | None = None
    after_ms: int | None = None
    error: Fault | None = None


class Statuses(msgspec.Struct, frozen=True):
    """Reply to a bulk delivery; an entry that is left out was not started."""

    statuses: list[Status]


class Outcome:
    """How one attempt ended."""

    __slots__ = ("after_ms", "error", "reason", "status", "value")

    def __init__(
        self,
        status: Literal["SUCCESS", "RETRY", "DROP"] = "SUCCESS",
        *,
        value: Any = None,
        reason: str | None = None,
        after_ms: int | None = None,
        error: Fault | None = None,
    ) -> None:
        self.status = status
        self.value = value
        self.reason = reason
        self.after_ms = after_ms
        self.error = error

    @property
    def ok(self) -> bool:
        """Whether the event is done."""
        return self.status == "SUCCESS"

    def told(self, entry_id: str | None = None) -> Status:
        """As it is written into a reply."""
        return Status(self.status, entry_id, self.reason, self.after_ms, self.error)


def of_exception(error: BaseException, root: str) -> Outcome:
    """Outcome of an attempt that raised; *root* is the directory of the user's code."""
    if isinstance(error, Reject):
        return Outcome("DROP", reason=error.reason)
    if isinstance(error, Retry):
        after = None if error.after is None else max(0, round(error.after.total_seconds() * 1000))
        return Outcome("RETRY", reason=error.reason, after_ms=after)
    return Outcome("RETRY", error=fault(error, root))


def of_value(value: Any, root: str) -> Outcome:
    """Outcome of a handler that returned: a returned Reject or Retry counts as raised."""
    if isinstance(value, Reject | Retry):
        return of_exception(value, root)
    return Outcome(value=value)


def timed_out(*, cancelled: bool) -> Outcome:
    """Outcome of an attempt that met its deadline."""
    said = "the handler did not end before the deadline" + ("" if cancelled else " and still runs")
    return Outcome("RETRY", reason=None if cancelled else STILL_RUNNING, error=Fault("TimeoutError", said))


def fault(error: BaseException, root: str) -> Fault:
    """Type, message and the innermost line of the user's own code."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if root and f.filename.startswith(root) and "site-packages" not in f.filename]
    place = own[-1] if own else (frames[-1] if frames else None)
    file, line = ("", 0) if place is None else (place.filename.removeprefix(root).lstrip("/"), place.lineno or 0)
    return Fault(type(error).__name__, str(error)[:MAX_MESSAGE], file, line)
