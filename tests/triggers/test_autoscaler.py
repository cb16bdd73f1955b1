"""Native scaling decisions: a table of single looks, walks over time, and properties over any load."""

from __future__ import annotations

import math
from datetime import timedelta
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from api.scaling import Authority, ScalePolicy
from triggers.autoscaler import Decision, History, desired_replicas
from triggers.load import Load, trusted

POLICY = ScalePolicy(min=0, max=10, cooldown=timedelta(seconds=300))
BUSY = Load(event_rate=100, handler_seconds=0.1, credit=1, lag=50, events=4, in_flight=4, runnable=40, ready=4)


def policy(**changes: object) -> ScalePolicy:
    return msgspec.structs.replace(POLICY, **changes)


ROWS = [
    ("nothing at all", POLICY, Load(), 0, "none"),
    ("an event wakes", POLICY, Load(lag=1), 1, "none"),
    ("a held request wakes", POLICY, Load(waiting=1), 1, "none"),
    ("more in flight than the credit grows", POLICY, Load(in_flight=3, ready=1), 2, "panic"),
    ("unknown handler time wakes one", POLICY, Load(lag=1000, runnable=64), 1, "none"),
    ("initial on wake-up", policy(initial=3), Load(lag=1000, runnable=64, waiting=5), 1, "none"),
    ("known handler time wakes many", POLICY, Load(lag=1000, runnable=64, handler_seconds=0.1), 10, "max"),
    ("min stands", policy(min=2), Load(), 2, "min"),
    ("min stands under load", policy(min=2), Load(lag=1, ready=2, idle=2), 2, "min"),
    ("growth doubles at most", POLICY, msgspec.structs.replace(BUSY, ready=3, lag=500), 6, "panic"),
    ("Little's law", POLICY, Load(event_rate=30, handler_seconds=0.1, runnable=9, ready=3), 4, "none"),
    ("a hot key buys one", POLICY, Load(lag=10_000, runnable=0, events=1, in_flight=1, handler_seconds=1, ready=1), 1,
     "runnable"),
    ("credit is shared", POLICY, Load(event_rate=300, handler_seconds=0.1, runnable=90, credit=32, ready=1), 2, "none"),
    ("max stands", POLICY, msgspec.structs.replace(BUSY, ready=8, lag=5000), 10, "max"),
    ("max was lowered", policy(max=2), Load(ready=4, blind="x"), 2, "max"),
    ("requests are urgent", POLICY, Load(waiting=20, handler_seconds=0.5, in_flight=4, ready=4), 8, "panic"),
    ("no growth before the first is ready", POLICY, Load(lag=99, runnable=99, handler_seconds=5, starting=1), 1,
     "starting"),
    ("no cooldown is no reason to drop work", policy(cooldown=timedelta()), Load(waiting=1, ready=1), 1, "none"),
    ("a rate that is left over wakes nobody", POLICY, Load(event_rate=9, handler_seconds=1, runnable=9), 0, "none"),
    ("nan is blind", POLICY, Load(lag=math.nan, ready=3), 3, "blind"),
    ("infinity is blind", POLICY, Load(event_rate=math.inf, ready=3), 3, "blind"),
    ("negative is blind", POLICY, Load(lag=-1, ready=3), 3, "blind"),
    ("an old reading is blind", POLICY, Load(ready=3, age=timedelta(seconds=11)), 3, "blind"),
    ("blind still grows by what it sees", POLICY, Load(waiting=20, handler_seconds=1, ready=2, blind="x"), 4, "panic"),
    ("blind at zero stays", POLICY, Load(blind="x"), 0, "blind"),
    ("paused holds", policy(authority=Authority.PAUSED), Load(lag=99, ready=2), 2, "paused"),
    ("paused at", policy(authority=Authority.PAUSED, paused_at=5), Load(ready=2), 5, "paused"),
    ("another authority", policy(authority=Authority.EXTERNAL), Load(lag=99, ready=2), 2, "external"),
]  # fmt: skip


@pytest.mark.parametrize(("policy", "load", "replicas", "limiter"), [row[1:] for row in ROWS], ids=[r[0] for r in ROWS])
def test_one_look(policy: ScalePolicy, load: Load, replicas: int, limiter: str) -> None:
    decision = desired_replicas(policy, load, History(), 1000.0)

    assert (replicas, limiter) == (decision.replicas, decision.limiter), decision.because


def walk(
    policy: ScalePolicy, load: Load, seconds: float, history: History, start: float, step: float = 1.0
) -> list[Decision]:
    """Decide every *step*; what was decided is ready and, without work, idle at the next look."""
    decisions = []
    for tick in range(int(seconds / step)):
        decision = desired_replicas(policy, load, history, start + tick * step)
        decisions.append(decision)
        history = decision.history
        idle = decision.replicas if not load.in_flight else 0
        load = msgspec.structs.replace(load, ready=decision.replicas, starting=0, idle=idle)
    return decisions


def test_last_replica_goes_after_the_cooldown() -> None:
    decisions = walk(POLICY, Load(ready=1, idle=1), 302, History(busy_at=0.0), 0.0)

    assert [decision.replicas for decision in decisions] == [1] * 300 + [0, 0]
    assert timedelta(seconds=290) == decisions[10].next_change
    assert decisions[10].limiter == "cooldown"


def test_scale_in_waits_for_a_calm_stable_window() -> None:
    busy = walk(POLICY, BUSY, 10, History(), 0.0)
    quiet = msgspec.structs.replace(BUSY, lag=0, runnable=0, event_rate=5, events=0, in_flight=0, ready=10, idle=10)
    decisions = walk(POLICY, quiet, 120, busy[-1].history, 10.0)

    assert busy[-1].replicas == 10
    assert decisions[50].replicas == 10
    assert decisions[50].limiter == "stable"
    assert decisions[-1].replicas == 1


def test_blindness_holds_then_falls_back_upwards() -> None:
    fallback = policy(fallback={"failureThreshold": 2, "replicas": 6})
    decisions = walk(fallback, Load(ready=2, blind="proxy-0 is silent"), 70, History(), 0.0)

    assert {2} == {decision.replicas for decision in decisions[:60]}
    assert {6} == {decision.replicas for decision in decisions[60:]}
    assert decisions[-1].limiter == "fallback"


def test_cooldown_starts_again_after_blindness() -> None:
    blind = walk(POLICY, Load(ready=1, blind="x"), 400, History(busy_at=0.0), 0.0, 10.0)
    after = desired_replicas(POLICY, Load(ready=1, idle=1), blind[-1].history, 400.0)

    assert (1, timedelta(seconds=290)) == (after.replicas, after.next_change)


def test_busy_replicas_are_drained_one_at_a_time() -> None:
    load = Load(ready=8, in_flight=8, events=8, lag=8, credit=32, handler_seconds=0.1)
    decision = desired_replicas(POLICY, load, History(busy_at=0.0), 100.0)

    assert (decision.replicas, decision.limiter) == (7, "draining")


numbers = st.one_of(
    st.integers(0, 200_000),
    st.floats(0, 1e6),
    st.sampled_from([math.nan, math.inf, -math.inf, -1.0, 1e308, 5e-324]),
)
counts = st.integers(0, 40)
loads = st.builds(
    Load, lag=numbers, runnable=numbers, events=numbers, in_flight=numbers, waiting=numbers, arrived=numbers,
    event_rate=numbers, request_rate=numbers, handler_seconds=numbers, credit=numbers, ready=counts, starting=counts,
    idle=counts, blind=st.sampled_from(["", "", "unreadable"]), age=st.timedeltas(timedelta(), timedelta(seconds=20)),
)  # fmt: skip
policies = st.builds(
    lambda low, high, initial, cooldown: ScalePolicy(
        min=min(low, high), max=max(low, high, 1), initial=initial, cooldown=timedelta(seconds=cooldown)
    ),
    st.integers(0, 20), st.integers(0, 20), st.integers(0, 5), st.sampled_from([0, 5, 300]) | st.floats(0, 600),
)  # fmt: skip
histories = st.builds(
    lambda asks, busy, grown: History(asks=tuple(sorted(asks)), busy_at=busy, grown_at=grown),
    st.lists(st.tuples(st.floats(0, 1000), st.integers(0, 30)), max_size=5),
    st.none() | st.floats(0, 1000), st.none() | st.floats(0, 1000),
)  # fmt: skip
nows = st.floats(1000, 2000)


@given(policies, loads, histories, nows)
def test_any_load_is_answered_within_the_bounds(policy: ScalePolicy, load: Load, history: History, now: float) -> None:
    decision = desired_replicas(policy, load, history, now)

    assert 0 <= decision.replicas <= policy.max
    assert decision.because
    if load.current >= policy.min or not load.current:
        assert decision.replicas >= policy.min
    if load.lag > 0 or load.waiting > 0 or load.in_flight > 0:
        assert decision.replicas >= 1
    if trusted(load).blind:
        assert decision.replicas >= min(load.current, policy.max)
    seen = trusted(load)
    assert decision.replicas >= min(math.ceil(seen.in_flight / seen.credit), load.current, policy.max)


@given(policies, loads, histories, nows, st.integers(1, 100_000))
def test_more_lag_never_gives_fewer(policy: ScalePolicy, load: Load, history: History, now: float, more: int) -> None:
    fewer = desired_replicas(policy, trusted(load), history, now)
    load = trusted(load)
    many = desired_replicas(policy, msgspec.structs.replace(load, lag=load.lag + more), history, now)

    assert many.replicas >= fewer.replicas


@given(policies, loads, histories, nows)
def test_deciding_twice_changes_nothing(policy: ScalePolicy, load: Load, history: History, now: float) -> None:
    once = desired_replicas(policy, load, history, now)

    assert once.replicas == desired_replicas(policy, load, history, now).replicas
    again = msgspec.structs.replace(load, ready=once.replicas, starting=0, idle=0)
    assert once.replicas >= min(desired_replicas(policy, again, once.history, now).replicas, once.replicas)


@settings(max_examples=60)
@given(policies, loads)
def test_constant_load_settles_and_then_rests(policy: ScalePolicy, load: Load) -> None:
    load = msgspec.structs.replace(trusted(load), ready=min(load.ready, policy.max), starting=0)
    decisions = walk(policy, load, 700, History(), 0.0, 5.0)
    changes = [
        5.0 * tick for tick, (before, after) in enumerate(pairwise(decisions)) if before.replicas != after.replicas
    ]

    settled = [at for at in changes if at > 60]  # doubling from 1 to 20 and draining busy ones one by one are over
    assert len(settled) <= 1 + 1  # one stable window, one cooldown


def test_no_reading_makes_history_grow_without_bound() -> None:
    history = History()
    for tick in range(5000):
        load = Load(lag=5000 - tick, runnable=99, handler_seconds=0.01, ready=3)
        history = desired_replicas(POLICY, load, history, tick / 50).history

    assert len(history.asks) < 200
