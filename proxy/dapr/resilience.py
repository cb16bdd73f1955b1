"""The policies of Resiliency as pure state machines: when a call may go out, and when it is tried again.

Source: Dapr's resiliency spec. A circuit breaker counts what ends while it is closed, lets nothing through while it is
open, and a few calls while it is half open; results of an earlier state count for nothing.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from api.model import App, CircuitBreaker, Resilience, Retry
from api.statuses import within
from triggers.trips import compile_trip

State = Literal["closed", "open", "half-open"]


class Counts(msgspec.Struct):
    """What a breaker's condition may speak of, under these names."""

    requests: int = 0
    totalSuccesses: int = 0  # noqa: N815 - Dapr's spelling in conditions
    totalFailures: int = 0  # noqa: N815 - as above
    consecutiveSuccesses: int = 0  # noqa: N815 - as above
    consecutiveFailures: int = 0  # noqa: N815 - as above

    def succeeded(self) -> None:
        self.totalSuccesses += 1
        self.consecutiveSuccesses += 1
        self.consecutiveFailures = 0

    def failed(self) -> None:
        self.totalFailures += 1
        self.consecutiveFailures += 1
        self.consecutiveSuccesses = 0


class Breaker:
    """One circuit breaker. *now* is monotonic, in seconds."""

    def __init__(self, policy: CircuitBreaker, now: float) -> None:
        self._policy = policy
        self._trips = compile_trip(policy.trip)
        self.state: State = "closed"
        self._counts = Counts()
        self._generation = 0
        self._until = self._end(now)

    def admit(self, now: float) -> int | None:
        """The generation to report the call's end with; None: it may not go out."""
        self._pass(now)
        if self.state == "open":
            return None
        if self.state == "half-open" and self._counts.requests >= self._policy.max_requests:
            return None
        self._counts.requests += 1
        return self._generation

    def report(self, generation: int, now: float, *, ok: bool) -> None:
        """A call that was admitted has ended."""
        self._pass(now)
        if generation != self._generation:
            return
        if ok:
            self._counts.succeeded()
            if self.state == "half-open" and self._counts.consecutiveSuccesses >= self._policy.max_requests:
                self._become("closed", now)
            return
        self._counts.failed()
        if self.state == "half-open" or (self.state == "closed" and self._trips(msgspec.structs.asdict(self._counts))):
            self._become("open", now)

    def _pass(self, now: float) -> None:
        """What time alone changes."""
        if self._until is None or now < self._until:
            return
        if self.state == "open":
            self._become("half-open", now)
        elif self.state == "closed":
            self._become("closed", now)

    def _become(self, state: State, now: float) -> None:
        self.state, self._counts = state, Counts()
        self._generation += 1
        self._until = self._end(now)

    def _end(self, now: float) -> float | None:
        if self.state == "open":
            return now + self._policy.timeout.total_seconds()
        interval = self._policy.interval.total_seconds()
        return now + interval if self.state == "closed" and interval > 0 else None


class Failure(msgspec.Struct, frozen=True):
    """What one try ended with; a number of 0 is not known."""

    http: int = 0
    grpc: int = 0
    permanent: bool = False
    """Another try would end the same."""


def again(retry: Retry | None, tried: int, failure: Failure) -> bool:
    """Whether a call that failed after *tried* tries is tried once more."""
    if retry is None or failure.permanent or (retry.max_retries >= 0 and tried > retry.max_retries):
        return False
    if failure.http:
        return within(retry.statuses, failure.http)
    return not failure.grpc or within(retry.codes, failure.grpc)


def policy(app: App, target: str) -> Resilience | None:
    """What guards the calls of *app* to ``app:<id>`` or ``component:<name>``: the target's own, else the default."""
    kind = target[: target.index(":") + 1]
    default = None
    for one in app.resilience:
        if one.target == target:
            return one
        if one.target == kind:
            default = one
    return default
