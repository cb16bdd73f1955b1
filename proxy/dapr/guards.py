"""Calls out of apps under their resiliency policies: a time limit, tries, and a circuit breaker for each target."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

from api.meta import Key
from api.model import App, CircuitBreaker, Resilience
from api.statuses import number
from proxy.dapr.errors import DaprError
from proxy.dapr.resilience import Breaker, Failure, again, policy

T = TypeVar("T")

LONGEST = 300.0
"""Seconds in which a call is tried again, whatever its policy says: whoever waits for it will have gone."""
BUSY = frozenset({429, 507})

Judge = Callable[[T], Failure | None]
"""Why an answer counts as a failure; None: it does not."""


class Guards:
    """The breakers of this process; each lasts while its app's policy stays what it is."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._breakers: dict[tuple[Key, str], tuple[CircuitBreaker, Breaker]] = {}

    def keep(self, functions: Collection[Key]) -> None:
        """Forget the breakers of all others."""
        self._breakers = {where: known for where, known in self._breakers.items() if where[0] in functions}

    async def run(
        self,
        app: App,
        target: str,
        call: Callable[[], Awaitable[T]],
        judge: Judge[T] | None = None,
        drop: Callable[[T], Awaitable[None]] | None = None,
        *,
        repeatable: bool = True,
    ) -> T:
        """Make *call* as the policy for *target* says. *judge* finds failures in what it returns, *drop* lets go of a
        failed answer that is not the last. Raises DaprError."""
        guard = policy(app, target) if app.resilience else None
        if guard is None:
            return await call()
        began, tried = self._clock(), 0
        while True:
            tried += 1
            answer: T | None = None
            error: DaprError | None = None
            failure: Failure | None
            try:
                answer = await self._once(app, guard, target, call, judge)
                failure = judge(answer) if judge is not None else None
            except DaprError as raised:
                error, failure = raised, _failure(raised)
            more = failure is not None and repeatable and again(guard.retry, tried, failure)
            wait = guard.retry.backoff.delay(tried, random.uniform(-1, 1)).total_seconds() if guard.retry else 0.0  # noqa: S311 - jitter, nothing secret
            if not more or self._clock() + wait - began > LONGEST:
                if error is not None:
                    raise error
                return answer  # type: ignore[return-value]  # without an error there is an answer
            if answer is not None and drop is not None:
                await drop(answer)
            await asyncio.sleep(wait)

    async def _once(
        self, app: App, guard: Resilience, target: str, call: Callable[[], Awaitable[T]], judge: Judge[T] | None
    ) -> T:
        breaker = self._breaker(app, guard, target)
        generation = breaker.admit(self._clock()) if breaker is not None else 0
        if generation is None:
            message = f"circuit breaker is open for {target}"
            raise DaprError(503, "UNAVAILABLE", "ERR_CIRCUIT_BREAKER_OPEN", message, retry_after=1)
        ok = False
        try:
            answer = await _limited(guard, target, call)
            ok = judge is None or judge(answer) is None
            return answer
        except DaprError as error:
            ok = _failure(error).permanent  # the caller's fault is none of the target's
            raise
        finally:
            if breaker is not None:
                breaker.report(generation, self._clock(), ok=ok)

    def _breaker(self, app: App, guard: Resilience, target: str) -> Breaker | None:
        if guard.breaker is None:
            return None
        where = (app.key, target)
        known = self._breakers.get(where)
        if known is None or known[0] != guard.breaker:
            known = self._breakers[where] = (guard.breaker, Breaker(guard.breaker, self._clock()))
        return known[1]


async def _limited(guard: Resilience, target: str, call: Callable[[], Awaitable[T]]) -> T:
    if guard.timeout is None or not guard.timeout:
        return await call()
    seconds = guard.timeout.total_seconds()
    try:
        async with asyncio.timeout(seconds):
            return await call()
    except TimeoutError:
        message = f"context deadline exceeded: no answer of {target} within {seconds:g} s"
        raise DaprError(504, "DEADLINE_EXCEEDED", "ERR_TIMEOUT", message) from None


def _failure(error: DaprError) -> Failure:
    return Failure(grpc=number(error.grpc), permanent=error.status < 500 and error.status not in BUSY)
