"""What a replica's answer means for each event, and what follows from it; pure.

Replies are Dapr's (HTTP application protocol and bulk subscribe) with the members that our framework adds: ``reason``,
``after_ms``, ``error``, and an entry left out of a bulk reply because it was never started. 404 is Dapr's "drop": here
it ends in the dead letters, where a person can see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import PurePath
from typing import Literal, TypeAlias

import msgspec

from api.delivery import DeliveryPolicy
from functions_framework.replies import STILL_RUNNING
from proxy.retry_after import retry_after

Kind = Literal[
    "done",
    "failed",
    "rejected",
    "unroutable",
    "not-started",
    "fenced",
    "unclear",
    "running",
    "unknown",
    "malformed",
    "unmatched",
    "expired",
]
"""*malformed*, *unmatched* and *expired*: the event was not handed over, and never will be. *unclear*: the answer to a
batch does not say which entry failed. *running*: failed for lack of time, and the handler may still run. *unknown*: no
answer."""


class Outcome(msgspec.Struct, frozen=True):
    """Fate of one event in one POST."""

    kind: Kind
    error: str = ""
    after: timedelta | None = None
    """The handler's own wish, instead of the policy's backoff; of a reply with a *code*, at least that long."""
    code: int = 0
    """HTTP status of a reply that says it all; 0: there was none, or it was a 2xx."""
    grpc: int = 0
    """The same for a gRPC app, by number."""


DONE = Outcome("done")
NOT_STARTED = Outcome("not-started")
REFUSED = Outcome("not-started", "the replica does not listen")
ENDED = Outcome("unknown", "the replica ended without a reply")
BROKEN = Outcome("unclear", "its streams ended without an answer, again and again")
MISSING = Outcome("failed", "the reply to the batch does not name it")
DOUBTFUL = frozenset({"running", "unknown"})
"""Kinds that are judged only once the replica confirmed or is gone."""
FENCED = Outcome("fenced", "a newer owner delivers this subscription")


class HandlerError(msgspec.Struct, frozen=True):
    type: str = ""
    message: str = ""
    file: str = ""
    line: int = 0

    def __str__(self) -> str:
        place = f" ({PurePath(self.file).name}:{self.line})" if self.file else ""
        return f"{self.type} {self.message}".strip() + place


class Reply(msgspec.Struct, frozen=True):
    """Body of the answer to one event, or one entry of a bulk answer."""

    status: str = ""
    entryId: str = ""  # noqa: N815 - Dapr's spelling on the wire
    reason: str = ""
    after_ms: float | None = None
    error: HandlerError | None = None


class BulkReply(msgspec.Struct, frozen=True):
    statuses: list[Reply] = []


_single = msgspec.json.Decoder(Reply)
_bulk = msgspec.json.Decoder(BulkReply)


def of_reply(reply: Reply) -> Outcome:
    """Meaning of Dapr's status and our extra members; an empty status is success, an unknown one a failure."""
    if reply.status in {"SUCCESS", ""}:
        return DONE
    error = str(reply.error) if reply.error else reply.reason
    if reply.status == "DROP":
        return Outcome("rejected", error or "rejected by the handler")
    after = None if reply.after_ms is None else timedelta(milliseconds=max(0.0, reply.after_ms))
    if reply.reason == STILL_RUNNING:
        return Outcome("running", str(reply.error or "timed out"))
    known = reply.status == "RETRY"
    return Outcome("failed", error or ("retry asked by the handler" if known else f"status {reply.status}"), after)


def of_status(status: int, headers: Mapping[bytes, bytes], wall: float) -> Outcome | None:
    """Meaning of the HTTP status alone; None for 2xx, where the body decides. *headers* have lower-case names, *wall*
    is unix seconds."""
    if 200 <= status < 300:
        return None
    if status in {429, 503} and b"evoke-not-started" in headers:
        return NOT_STARTED
    if status == 409 and b"evoke-epoch" in headers:
        return FENCED
    if status == 404:
        return Outcome("unroutable", "HTTP 404: the function has no handler at this path", code=404)
    return Outcome("failed", f"HTTP {status}", retry_after(status, headers, wall), status)


def of_single(status: int, headers: Mapping[bytes, bytes], body: bytes, wall: float) -> Outcome:
    """Answer to a POST of one event; a 2xx without a readable status is success, as in Dapr."""
    by_status = of_status(status, headers, wall)
    if by_status is not None:
        return by_status
    try:
        return of_reply(_single.decode(body))
    except msgspec.DecodeError:
        return DONE


def of_bulk(status: int, headers: Mapping[bytes, bytes], body: bytes, ids: Sequence[str], wall: float) -> list[Outcome]:
    """Answer to a bulk POST, in the order of *ids*; an omitted entry was never started.

    A failure of the whole POST says nothing about which entry caused it: each entry goes again alone, and only the
    culprit is charged.
    """
    by_status = of_status(status, headers, wall)
    if by_status is not None:
        whole = by_status if by_status in {NOT_STARTED, FENCED} else Outcome("unclear", by_status.error)
        return [whole] * len(ids)
    try:
        statuses = _bulk.decode(body).statuses
    except msgspec.DecodeError:
        return [Outcome("unclear", "the reply to a batch holds no statuses")] * len(ids)
    by_id = {reply.entryId: reply for reply in statuses}
    # Dapr reads an empty status in a bulk reply as RETRY, unlike in a single one
    return [
        NOT_STARTED if reply is None else Outcome("failed", "empty status") if not reply.status else of_reply(reply)
        for reply in map(by_id.get, ids)
    ]


class Done(msgspec.Struct, frozen=True):
    """Nothing more to do."""


class Release(msgspec.Struct, frozen=True):
    """Wait again, uncharged."""

    solo: bool = False


class Park(msgspec.Struct, frozen=True):
    """The attempt is charged: record it, then back off."""

    attempts: int
    delay: timedelta
    error: str


class Bury(msgspec.Struct, frozen=True):
    """To the dead letters."""

    reason: str
    error: str
    attempts: int
    code: int = 0
    """HTTP status of the last reply; 0: there was none."""


Verdict: TypeAlias = Done | Release | Park | Bury
RELEASE = Release()


def judge(policy: DeliveryPolicy, outcome: Outcome, *, attempts: int, alone: bool, spread: float) -> Verdict:
    """What follows from *outcome* of an event with so many failed *attempts* before; *spread* in -1..1 is random.

    A doubtful outcome is judged only after its replica confirmed or is gone; no answer at all is charged only to an
    event that was *alone* in its POST.
    """
    match outcome.kind:
        case "done":
            return Done()
        case "not-started" | "fenced":
            return RELEASE
        case "rejected" | "unroutable" | "malformed" | "unmatched" | "expired":
            tried = outcome.kind in {"rejected", "unroutable"}
            return Bury(outcome.kind, outcome.error, attempts + tried, outcome.code)
        case "unclear" | "unknown" if not alone:
            return Release(solo=True)
    last = _last(policy, outcome, attempts + 1)
    return last or Park(attempts + 1, _delay(policy, outcome, attempts + 1, spread), outcome.error)


def _last(policy: DeliveryPolicy, outcome: Outcome, attempt: int) -> Bury | None:
    """The end of an event whose failed *attempt* was its last; None: it is tried again."""
    if not policy.retries(outcome.code, outcome.grpc):
        return Bury("rejected", f"{outcome.error}, which is not tried again", attempt, outcome.code)
    if attempt >= policy.max_attempts:
        return Bury("max-attempts", outcome.error, attempt, outcome.code)
    return None


def _delay(policy: DeliveryPolicy, outcome: Outcome, attempt: int, spread: float) -> timedelta:
    own = policy.backoff.delay(attempt, spread)
    if outcome.after is None:
        return own
    return max(outcome.after, own) if outcome.code else outcome.after


def describe(policy: DeliveryPolicy, verdict: Park | Bury) -> str:
    """One line for people: which attempt failed, why, and what happens next."""
    if isinstance(verdict, Park):
        return f"attempt {verdict.attempts} of {policy.max_attempts} failed: {verdict.error}; again in {_wait(verdict)}"
    if verdict.reason == "max-attempts":
        return f"attempt {verdict.attempts} of {policy.max_attempts} failed: {verdict.error}; to the dead letters"
    return f"{verdict.reason}: {verdict.error}; to the dead letters"


def _wait(verdict: Park) -> str:
    seconds = verdict.delay.total_seconds()
    if seconds >= 90:
        return f"{seconds / 60:.0f} min"
    return f"{seconds:.0f} s" if seconds >= 0.95 else f"{seconds:.1f} s"
