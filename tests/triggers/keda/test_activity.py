"""KEDA's table of one poll, the executor's own cases among them."""

from __future__ import annotations

import pytest

from triggers.keda.activity import Seen, Target, Verdict, decide

ACTIVE, INACTIVE = Seen(active=True), Seen(active=False)
BLIND, PARTLY = Seen(active=False, error=True), Seen(active=True, error=True)


def at(target: Target, seen: Seen, current: int, *, last_active: float | None = None, now: float = 1000.0) -> Verdict:
    return decide(target, seen, current, last_active=last_active, created=0.0, now=now)


@pytest.mark.parametrize(
    ("target", "seen", "current", "replicas"),
    [
        (Target(), INACTIVE, 10, 0),
        (Target(min=5), INACTIVE, 1, 5),
        (Target(), ACTIVE, 0, 1),
        (Target(min=5, idle=0), INACTIVE, 10, 0),
        (Target(min=5, idle=0), ACTIVE, 0, 5),
        (Target(min=5, idle=0), ACTIVE, 3, 5),
        (Target(min=3), ACTIVE, 0, 3),
        (Target(min=3), INACTIVE, 3, 3),
        (Target(min=3), INACTIVE, 7, 7),
        (Target(), BLIND, 4, 4),
        (Target(fallback=5), BLIND, 4, 4),
        (Target(fallback=0), BLIND, 4, 0),
        (Target(), PARTLY, 0, 1),
        (Target(paused=True), ACTIVE, 0, 0),
        (Target(paused_out=True), ACTIVE, 0, 0),
        (Target(paused_in=True), INACTIVE, 4, 4),
        (Target(forced=True), INACTIVE, 0, 1),
    ],
)
def test_what_a_poll_does(target: Target, seen: Seen, current: int, replicas: int) -> None:
    assert at(target, seen, current).replicas == replicas


@pytest.mark.parametrize(("now", "replicas"), [(400.0, 2), (400.001, 0)])
def test_the_cooldown_ends_strictly_after_its_time(now: float, replicas: int) -> None:
    assert at(Target(cooldown=300), INACTIVE, 2, last_active=100.0, now=now).replicas == replicas


@pytest.mark.parametrize(("now", "replicas"), [(60.0, 2), (60.001, 0)])
def test_what_was_never_active_waits_for_the_initial_cooldown_only(now: float, replicas: int) -> None:
    assert at(Target(cooldown=300, initial_cooldown=60), INACTIVE, 2, now=now).replicas == replicas


def test_a_fresh_target_without_work_goes_at_the_first_poll() -> None:
    assert at(Target(), INACTIVE, 2, now=0.001).replicas == 0


def test_an_error_beside_activity_does_not_refresh_the_last_one() -> None:
    assert at(Target(), PARTLY, 2, last_active=5.0) == Verdict(replicas=2, why="partly blind", last_active=5.0)
    assert at(Target(), ACTIVE, 2, last_active=5.0).last_active == 1000.0
