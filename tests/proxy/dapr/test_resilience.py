"""Circuit breakers and tries, with time as an argument."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from api.delivery import Backoff
from api.meta import Key
from api.model import App, CircuitBreaker, Resilience, Retry
from proxy.dapr.errors import DaprError, busy
from proxy.dapr.guards import Guards
from proxy.dapr.resilience import Breaker, Failure, again, policy

AT_ONCE = Backoff(initial=timedelta(0), factor=1.0, cap=timedelta(0), jitter=0.0)


def app(*resilience: Resilience) -> App:
    return App(key=Key("default", "shop"), id="shop", resilience=resilience)


def calls(breaker: Breaker, now: float, results: str) -> list[bool]:
    """Admit and report one call for each letter (``s`` success, ``f`` failure); whether each was admitted."""
    admitted = []
    for letter in results:
        generation = breaker.admit(now)
        admitted.append(generation is not None)
        if generation is not None:
            breaker.report(generation, now, ok=letter == "s")
    return admitted


def test_breaker_opens_after_six_failures_in_a_row_and_closes_after_one_success() -> None:
    breaker = Breaker(CircuitBreaker(timeout=timedelta(seconds=10)), now=0.0)
    assert calls(breaker, 1.0, "fffffsffffff") == [True] * 12
    assert breaker.state == "open"
    assert calls(breaker, 10.9, "s") == [False]
    assert calls(breaker, 11.0, "f") == [True]
    assert breaker.state == "open"
    assert calls(breaker, 21.0, "s") == [True]
    assert breaker.state == "closed"


def test_half_open_breaker_lets_a_few_through_and_needs_all_of_them() -> None:
    breaker = Breaker(CircuitBreaker(trip="consecutiveFailures >= 1", max_requests=2), now=0.0)
    calls(breaker, 0.0, "f")
    first, second = breaker.admit(60.0), breaker.admit(60.0)
    assert first is not None
    assert second is not None
    assert breaker.admit(60.0) is None
    breaker.report(first, 61.0, ok=True)
    assert breaker.state == "half-open"
    breaker.report(second, 61.0, ok=True)
    assert breaker.state == "closed"


def test_results_of_an_earlier_state_count_for_nothing() -> None:
    breaker = Breaker(CircuitBreaker(trip="totalFailures > 1"), now=0.0)
    slow = breaker.admit(0.0)
    assert slow is not None
    calls(breaker, 0.0, "ff")
    assert breaker.state == "open"
    breaker.report(slow, 60.0, ok=True)
    assert breaker.state == "half-open"


def test_closed_breaker_forgets_after_its_interval() -> None:
    policy_ = CircuitBreaker(trip="totalFailures > 2 && requests >= 3", interval=timedelta(seconds=5))
    breaker = Breaker(policy_, now=0.0)
    assert calls(breaker, 1.0, "ff") == [True, True]
    assert calls(breaker, 6.0, "ff") == [True, True]
    assert breaker.state == "closed"
    calls(breaker, 6.5, "f")
    assert breaker.state == "open"


@pytest.mark.parametrize(
    ("retry", "tried", "failure", "want"),
    [
        (None, 1, Failure(http=500), False),
        (Retry(backoff=AT_ONCE, max_retries=4), 4, Failure(http=500), True),
        (Retry(backoff=AT_ONCE, max_retries=4), 5, Failure(http=500), False),
        (Retry(backoff=AT_ONCE), 10_000, Failure(), True),
        (Retry(backoff=AT_ONCE, statuses="429,500-599"), 1, Failure(http=400), False),
        (Retry(backoff=AT_ONCE, statuses="429,500-599"), 1, Failure(http=429), True),
        (Retry(backoff=AT_ONCE, codes="14"), 1, Failure(grpc=13), False),
        (Retry(backoff=AT_ONCE, codes="14"), 1, Failure(grpc=14), True),
        (Retry(backoff=AT_ONCE, codes="14"), 1, Failure(http=404), True),
        (Retry(backoff=AT_ONCE), 1, Failure(permanent=True), False),
    ],
)
def test_whether_a_call_is_tried_again(retry: Retry | None, tried: int, failure: Failure, *, want: bool) -> None:
    assert again(retry, tried, failure) is want


def test_policy_of_a_target_is_its_own_else_the_default_of_its_kind() -> None:
    own, default = Resilience(target="app:store"), Resilience(target="app:")
    assert policy(app(default, own), "app:store") == own
    assert policy(app(default, own), "app:other") == default
    assert policy(app(default, own), "component:store") is None


def guarded(resilience: Resilience, call: Callable[[int], object], clock: Callable[[], float] = lambda: 0.0) -> int:
    """Number of calls made; *call* gets it, and raises or returns."""
    made = 0

    async def one() -> object:
        nonlocal made
        made += 1
        return call(made)

    async def scenario() -> None:
        with_breaker = Guards(clock)
        with contextlib.suppress(DaprError):
            await with_breaker.run(app(resilience), resilience.target, one)

    asyncio.run(scenario())
    return made


def failing(_made: int) -> object:
    raise DaprError(500, "INTERNAL", "ERR", "no")


def test_four_retries_are_five_calls() -> None:
    retry = Retry(backoff=AT_ONCE, max_retries=4)
    assert guarded(Resilience(target="component:redis", retry=retry), failing) == 5


def test_the_callers_own_fault_is_not_tried_again() -> None:
    def refused(_made: int) -> object:
        raise DaprError(409, "ABORTED", "ERR", "etag mismatch")

    assert guarded(Resilience(target="component:redis", retry=Retry(backoff=AT_ONCE)), refused) == 1


def test_what_is_busy_is_tried_again() -> None:
    def once(made: int) -> object:
        if made == 1:
            raise busy("wait")
        return made

    assert guarded(Resilience(target="component:redis", retry=Retry(backoff=AT_ONCE)), once) == 2


def test_retries_without_end_end_when_nobody_can_still_wait() -> None:
    ticks = iter(range(0, 10_000, 60))
    assert guarded(Resilience(target="app:", retry=Retry(backoff=AT_ONCE)), failing, lambda: float(next(ticks))) < 10


def test_an_open_breaker_answers_at_once() -> None:
    async def scenario() -> None:
        guards, made = Guards(lambda: 0.0), 0
        shop = app(Resilience(target="app:store", breaker=CircuitBreaker(trip="consecutiveFailures > 1")))

        async def call() -> None:
            nonlocal made
            made += 1
            raise DaprError(500, "INTERNAL", "ERR", "no")

        codes = []
        for _ in range(4):
            with pytest.raises(DaprError) as raised:
                await guards.run(shop, "app:store", call)
            codes.append(raised.value.code)
        assert codes == ["ERR", "ERR", "ERR_CIRCUIT_BREAKER_OPEN", "ERR_CIRCUIT_BREAKER_OPEN"]
        assert made == 2

    asyncio.run(scenario())


def test_a_call_past_its_time_is_given_up() -> None:
    async def scenario() -> None:
        shop = app(Resilience(target="app:store", timeout=timedelta(milliseconds=1)))
        with pytest.raises(DaprError) as raised:
            await Guards().run(shop, "app:store", asyncio.Event().wait)
        assert (raised.value.status, raised.value.grpc) == (504, "DEADLINE_EXCEEDED")

    asyncio.run(scenario())


def test_a_failed_answer_is_dropped_before_the_next_try() -> None:
    async def scenario() -> None:
        answers, dropped = iter([500, 500, 200]), []

        async def call() -> int:
            return next(answers)

        async def drop(answer: int) -> None:
            dropped.append(answer)

        shop = app(Resilience(target="app:store", retry=Retry(backoff=AT_ONCE)))
        found = await Guards().run(shop, "app:store", call, lambda one: Failure(http=one) if one >= 400 else None, drop)
        assert (found, dropped) == (200, [500, 500])

    asyncio.run(scenario())
