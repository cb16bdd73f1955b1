"""What KEDA's own loop does with a target at one poll: between zero and one, and the cooldown; pure.

Source: KEDA's executor of ScaledObjects (the decision table of one poll). Times are seconds of one clock.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Why = Literal[
    "paused",
    "activated",
    "active",
    "partly blind",
    "blind",
    "held for the fallback",
    "cooling down",
    "deactivated",
    "below the minimum",
    "nothing to do",
]


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a ScaledObject that this clock knows."""

    min: int = 0
    idle: int | None = None
    """idleReplicaCount: replicas while inactive, below *min*; None: not set."""
    cooldown: float = 300.0
    initial_cooldown: float = 0.0
    fallback: int | None = None
    """fallback.replicas; None: there is none."""
    paused: bool = False
    paused_in: bool = False
    """Nothing is taken away."""
    paused_out: bool = False
    """Nothing is added."""
    forced: bool = False
    """force-activation: it counts as active."""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What the triggers said at this poll."""

    active: bool
    error: bool = False
    """At least one could not be read."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    replicas: int
    """What there shall be; the current count where nothing is done."""
    why: Why
    last_active: float | None
    """For the next poll; None: it never was active."""


def decide(
    target: Target, seen: Seen, current: int, *, last_active: float | None, created: float, now: float
) -> Verdict:
    """What the poll at *now* does; *created* and *last_active* are times of the same clock."""
    if target.paused:
        return Verdict(replicas=current, why="paused", last_active=last_active)
    if seen.active or target.forced:
        return _active(target, seen, current, last_active, now)
    if seen.error and target.fallback != 0:  # a fallback to zero lets it go to zero
        why: Why = "blind" if target.fallback is None else "held for the fallback"
        return Verdict(replicas=current, why=why, last_active=last_active)
    if (target.idle is not None and current > target.idle) or (current > 0 and target.min == 0):
        return _inactive(target, current, last_active, created, now)
    if target.idle is None and current < target.min:
        return Verdict(replicas=target.min, why="below the minimum", last_active=last_active)
    return Verdict(replicas=current, why="nothing to do", last_active=last_active)


def _active(target: Target, seen: Seen, current: int, last_active: float | None, now: float) -> Verdict:
    if current == 0 or (target.idle is not None and current < target.min):
        if target.paused_out:
            return Verdict(replicas=current, why="paused", last_active=last_active)
        return Verdict(replicas=max(target.min, 1), why="activated", last_active=now)
    if seen.error:
        return Verdict(replicas=current, why="partly blind", last_active=last_active)
    return Verdict(replicas=current, why="active", last_active=now)


def _inactive(target: Target, current: int, last_active: float | None, created: float, now: float) -> Verdict:
    """To idle or to the minimum in one step; policies and stabilisation of the autoscaler have no say here."""
    if target.paused_in:
        return Verdict(replicas=current, why="paused", last_active=last_active)
    since, wait = (created, target.initial_cooldown) if last_active is None else (last_active, target.cooldown)
    if not since + wait < now:
        return Verdict(replicas=current, why="cooling down", last_active=last_active)
    return Verdict(
        replicas=target.min if target.idle is None else target.idle, why="deactivated", last_active=last_active
    )
