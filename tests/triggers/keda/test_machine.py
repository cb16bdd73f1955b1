"""KEDA and the autoscaler together over virtual time: one clock moves 0 and 1, the other 1 and N."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from triggers.keda.activity import Target
from triggers.keda.fallback import Fallback
from triggers.keda.formula import compile_formula
from triggers.keda.machine import SYNC_EVERY, Modifiers, Read, Settings, State, Trigger, live, poll, push, sync
from triggers.keda.proposals import Counts

POLL_EVERY = 30.0
LAG = Trigger(name="lag", target=10_000)
Load = Callable[[float], Read]


def lag(events: int) -> Read:
    return Read(value=events * 1000, active=events > 0)


def replay(settings: Settings, load: Load, until: float, *, phase: float = 5.0) -> list[tuple[float, str, int, int]]:
    """(time, actor, from, to) of every change; polls at 0, 30, 60..., syncs at *phase*, then every 15 s."""
    state, current, changes = State(created=0.0), 0, []
    polls = [POLL_EVERY * n for n in range(int(until / POLL_EVERY) + 1)]
    syncs = [phase + SYNC_EVERY * n for n in range(int((until - phase) / SYNC_EVERY) + 1)]
    for now, actor in sorted([(at, "a poll") for at in polls] + [(at, "b sync") for at in syncs]):
        reads = {trigger.name: load(now) for trigger in settings.triggers}
        if actor == "a poll":
            move = poll(settings, state, reads, current, now=now)
        else:
            counts = Counts(spec=current, status=current, ready=current)
            move = sync(settings, state, {name: reads[name] for name in live(settings)}, counts, now=now)
        if move.replicas != current:
            changes.append((now, move.actor, current, move.replicas))
        state, current = move.state, move.replicas
    return changes


def test_a_backlog_that_comes_and_goes() -> None:
    """Two clocks: up at a poll, on at syncs (1, 4, 5), down once the window has passed, to zero after the cooldown."""
    settings = Settings(triggers=(LAG,), target=Target(cooldown=60.0), max=5)
    changes = replay(settings, lambda now: lag(100 if 35 <= now < 100 else 0), 600)
    assert changes == [
        (60.0, "poll", 0, 1),
        (65.0, "sync", 1, 4),
        (80.0, "sync", 4, 5),
        (180.0, "poll", 5, 0),
    ]


def test_the_last_replica_goes_in_one_step_however_many_there_are() -> None:
    settings = Settings(triggers=(LAG,), target=Target(cooldown=0.0), max=50)
    changes = replay(settings, lambda now: lag(500 if now < 50 else 0), 100)
    assert changes[-1] == (60.0, "poll", 32, 0)


def test_a_push_activates_between_polls_and_never_ends_anything() -> None:
    settings, state = Settings(triggers=(LAG,)), State(created=0.0)
    up = push(settings, state, 0, active=True, now=7.0)
    assert (up.replicas, up.state.last_active) == (1, 7.0)
    assert push(settings, up.state, 5, active=False, now=8.0).replicas == 5


def test_a_source_that_fails_holds_and_then_falls_back() -> None:
    settings = Settings(triggers=(LAG,), fallback=Fallback(threshold=3, replicas=6), max=50)
    changes = replay(settings, lambda now: lag(100) if now < 40 else Read(error="refused"), 200)
    assert changes == [(0.0, "poll", 0, 1), (5.0, "sync", 1, 4), (20.0, "sync", 4, 8), (35.0, "sync", 8, 10)]
    below = replay(settings, lambda now: lag(20) if now < 20 else Read(error="refused"), 200)
    assert below == [(0.0, "poll", 0, 1), (5.0, "sync", 1, 2), (50.0, "sync", 2, 4), (65.0, "sync", 4, 6)]


def test_a_fallback_wakes_what_sleeps() -> None:
    settings = Settings(triggers=(LAG,), fallback=Fallback(threshold=3, replicas=6), max=50)
    changes = replay(settings, lambda _now: Read(error="refused"), 200)
    assert changes[0] == (90.0, "poll", 0, 1)


def test_cached_metrics_are_read_by_polls_only() -> None:
    settings = Settings(triggers=(Trigger(name="lag", target=10_000, cached=True),))
    assert live(settings) == ()
    first = poll(settings, State(created=0.0), {"lag": lag(25)}, 0, now=0.0)
    assert sync(settings, first.state, {}, Counts(spec=1, status=1, ready=1), now=5.0).replicas == 3


def test_a_formula_makes_one_metric_of_all() -> None:
    names = ("a", "b")
    settings = Settings(
        triggers=tuple(Trigger(name=name, target=1_000_000) for name in names),
        modifiers=Modifiers(formula=compile_formula("a + b", names), target=2_000, activation=3_000),
    )
    three = {"a": lag(1), "b": lag(2)}
    assert poll(settings, State(created=0.0), three, 0, now=0.0).replicas == 0, "3 is not above 3"
    four = {"a": lag(2), "b": lag(2)}
    woken = poll(settings, State(created=0.0), four, 0, now=0.0)
    assert woken.replicas == 1
    seven = {"a": lag(2), "b": lag(5)}
    move = sync(settings, woken.state, seven, Counts(spec=1, status=1, ready=1), now=5.0)
    assert (move.replicas, move.why) == (4, "composite-metric asks for 4")
    counts, partly = Counts(spec=3, status=3, ready=3), {"a": lag(2), "b": Read(error="refused")}
    blind = sync(settings, woken.state, partly, counts, now=5.0)
    assert (blind.replicas, blind.errors) == (3, ("composite-metric: b: refused",))
    static = msgspec.structs.replace(settings, fallback=Fallback(threshold=0, replicas=5))
    assert sync(static, woken.state, partly, counts, now=5.0).replicas == 5, "the fallback skips the formula"


def test_a_formula_may_say_itself_what_stands_in_for_a_trigger() -> None:
    names = ("a", "b")
    settings = Settings(
        triggers=tuple(Trigger(name=name, target=1_000) for name in names),
        modifiers=Modifiers(formula=compile_formula("b ?? a", names), target=1_000),
        fallback=Fallback(threshold=0, replicas=9, behavior="scalingModifiers"),
    )
    counts = Counts(spec=3, status=3, ready=3)
    reads = {"a": lag(4), "b": Read(error="refused")}
    assert sync(settings, State(created=0.0), reads, counts, now=5).replicas == 4
    neither = {"a": Read(error="refused"), "b": Read(error="refused")}
    assert sync(settings, State(created=0.0), neither, counts, now=5).replicas == 6, "nine, and at most double"


@given(st.lists(st.one_of(st.integers(0, 10**6), st.none()), min_size=1, max_size=40), st.integers(1, 60))
def test_it_stays_in_bounds_and_never_shrinks_blindly(levels: list[int | None], most: int) -> None:
    settings = Settings(triggers=(LAG,), target=Target(cooldown=30.0), max=most)

    def load(now: float) -> Read:
        level = levels[min(int(now / 20), len(levels) - 1)]
        return Read(error="refused") if level is None else lag(level)

    for now, _actor, before, after in replay(settings, load, 20.0 * len(levels)):
        assert 0 <= after <= most
        assert after >= before or not load(now).error, "what cannot be read takes nothing away"
