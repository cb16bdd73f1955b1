"""How fast the HorizontalPodAutoscaler follows what the metrics ask for: both of its paths; pure.

Source: kube-controller-manager's horizontal pod autoscaler: normalisation without ``behavior`` (the default under KEDA,
which leaves it out), and with it. Times are seconds of one clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Literal

import msgspec

PLAIN_WINDOW = 300.0
"""Stabilisation of scale-in without a behavior: --horizontal-pod-autoscaler-downscale-stabilization."""
LEAST_STEP, FACTOR = 4, 2
"""Without a behavior one sync grows to twice as many, or to four."""

Limiter = Literal["none", "min", "max", "stabilised", "rate", "disabled"]


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """At most *value* pods, or percent, within *period* seconds."""

    kind: Literal["Pods", "Percent"]
    value: int
    period: float


class Direction(msgspec.Struct, frozen=True, kw_only=True):
    """Pace of one direction."""

    window: float
    select: Literal["Max", "Min", "Disabled"] = "Max"
    policies: tuple[Policy, ...]


UP = Direction(
    window=0.0,
    policies=(Policy(kind="Pods", value=4, period=15.0), Policy(kind="Percent", value=100, period=15.0)),
)
DOWN = Direction(window=PLAIN_WINDOW, policies=(Policy(kind="Percent", value=100, period=15.0),))


class Behavior(msgspec.Struct, frozen=True, kw_only=True):
    """autoscaling/v2 behavior with its defaults filled."""

    up: Direction = UP
    down: Direction = DOWN


class Stamp(msgspec.Struct, frozen=True):
    """A number of replicas, or of replicas added or taken away, and when."""

    count: int
    at: float


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """What the next sync must remember."""

    recommendations: tuple[Stamp, ...] = ()
    """What was asked for before any limit, oldest first."""
    ups: tuple[Stamp, ...] = ()
    downs: tuple[Stamp, ...] = ()


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """Answer of one sync."""

    replicas: int
    limiter: Limiter = "none"
    pace: Pace


def step(
    pace: Pace, current: int, desired: int, *, least: int, most: int, behavior: Behavior | None, now: float
) -> Step:
    """From *current* towards *desired* replicas, within *least* and *most*; *behavior* None is the plain path."""
    if behavior is None:
        stable, pace = _stabilised_plain(pace, desired, now)
        count, limiter = _limited_plain(current, stable, least, most)
    else:
        stable, pace = stabilised(pace, current, desired, behavior, now)
        count, limiter = limited(pace, current, stable, least, most, behavior, now)
        pace = _changed(pace, current, count, behavior, now)
    if limiter == "none" and stable != desired:
        limiter = "stabilised"
    return Step(replicas=count, limiter=limiter, pace=pace)


def _stabilised_plain(pace: Pace, desired: int, now: float) -> tuple[int, Pace]:
    """The highest of the window, whose edge counts."""
    young = tuple(one for one in pace.recommendations if one.at >= now - PLAIN_WINDOW)
    highest = max((one.count for one in young), default=desired)
    return max(highest, desired), msgspec.structs.replace(pace, recommendations=(*young, Stamp(desired, now)))


def _limited_plain(current: int, desired: int, least: int, most: int) -> tuple[int, Limiter]:
    if desired < least:
        return least, "min"
    grown = max(FACTOR * current, LEAST_STEP)
    if desired > min(grown, most):
        return (most, "max") if most <= grown else (grown, "rate")
    return desired, "none"


def stabilised(pace: Pace, current: int, desired: int, behavior: Behavior, now: float) -> tuple[int, Pace]:
    """*current*, moved no further than the windows of both directions agree on; their edges do not count."""
    younger = [one for one in pace.recommendations if one.at > now - max(behavior.up.window, behavior.down.window)]
    lowest = min([desired, *(one.count for one in younger if one.at > now - behavior.up.window)])
    highest = max([desired, *(one.count for one in younger if one.at > now - behavior.down.window)])
    kept = (*younger, Stamp(desired, now))
    return min(max(current, lowest), highest), msgspec.structs.replace(pace, recommendations=kept)


def limited(
    pace: Pace, current: int, desired: int, least: int, most: int, behavior: Behavior, now: float
) -> tuple[int, Limiter]:
    """*desired*, as far as the policies and the bounds let it go from *current*."""
    if desired > current:
        limit = max(_limit(behavior.up, pace, current, _risen, now, widest=max, narrowest=min), current)
        return _above(desired, limit, most, behavior.up)
    if desired < current:
        limit = min(_limit(behavior.down, pace, current, _fallen, now, widest=min, narrowest=max), current)
        return _below(desired, limit, least, behavior.down)
    return desired, "none"


def _above(desired: int, limit: int, most: int, direction: Direction) -> tuple[int, Limiter]:
    if desired <= min(limit, most):
        return desired, "none"
    return (most, "max") if most <= limit else (limit, _rate(direction))


def _below(desired: int, limit: int, least: int, direction: Direction) -> tuple[int, Limiter]:
    if desired >= max(limit, least):
        return desired, "none"
    return (least, "min") if least >= limit else (limit, _rate(direction))


def _rate(direction: Direction) -> Limiter:
    return "disabled" if direction.select == "Disabled" else "rate"


def _limit(
    direction: Direction,
    pace: Pace,
    current: int,
    moved: Callable[[int, Policy], int],
    now: float,
    *,
    widest: Callable[[Iterable[int]], int],
    narrowest: Callable[[Iterable[int]], int],
) -> int:
    """How far the policies of *direction* let the count go; each counts from what there was before its period."""
    if direction.select == "Disabled":
        return current
    limits = [moved(_before(pace, current, policy.period, now), policy) for policy in direction.policies]
    return widest(limits) if direction.select == "Max" else narrowest(limits)


def _before(pace: Pace, current: int, period: float, now: float) -> int:
    return current - _within(pace.ups, period, now) + _within(pace.downs, period, now)


def _within(stamps: Sequence[Stamp], period: float, now: float) -> int:
    return sum(one.count for one in stamps if one.at > now - period)


def _risen(start: int, policy: Policy) -> int:
    return start + policy.value if policy.kind == "Pods" else math.ceil(start * (1 + policy.value / 100))


def _fallen(start: int, policy: Policy) -> int:
    return start - policy.value if policy.kind == "Pods" else int(start * (1 - policy.value / 100))


def _changed(pace: Pace, current: int, count: int, behavior: Behavior, now: float) -> Pace:
    """*pace* with the change from *current* to *count*, without changes that no policy looks back to."""
    ups, downs = _recent(pace.ups, behavior.up, now), _recent(pace.downs, behavior.down, now)
    if count > current:
        ups = (*ups, Stamp(count - current, now))
    elif count < current:
        downs = (*downs, Stamp(current - count, now))
    return msgspec.structs.replace(pace, ups=ups, downs=downs)


def _recent(stamps: tuple[Stamp, ...], direction: Direction, now: float) -> tuple[Stamp, ...]:
    longest = max((policy.period for policy in direction.policies), default=0.0)
    return tuple(one for one in stamps if one.at > now - longest)
