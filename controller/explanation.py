"""Why a revision has as many replicas as it has: the inputs and the limiter of its last decision, for people; pure."""

from __future__ import annotations

from datetime import timedelta

import msgspec

from api.scaling import Authority, ScalePolicy
from triggers.autoscaler import Decision
from triggers.load import Load


class Explanation(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One decision with what went in; rates per second."""

    line: str
    """``1 replica of 0..10, by Evoke: in-flight 0, lag 0, to zero in 4 min 50 s``"""
    replicas: int
    desired: int
    min: int
    max: int
    authority: str
    limiter: str
    because: str
    next: str = ""
    """What comes next if the load stays: ``to zero in 4 min 50 s``."""
    next_change: timedelta | None = None
    in_flight: float
    lag: float
    waiting: float
    runnable: float
    event_rate: float
    request_rate: float
    handler_ms: float
    credit: float
    idle: int
    blind: str = ""


def explain(policy: ScalePolicy, load: Load, decision: Decision) -> Explanation:
    coming = _next(load, decision)
    count = f"{load.ready} replica{'' if load.ready == 1 else 's'} of {policy.min}..{policy.max}"
    owner = "paused" if policy.authority is Authority.PAUSED else f"by {policy.authority.value}"
    facts = [f"in-flight {load.in_flight:.0f}", f"lag {load.lag:.0f}"]
    facts += [f"{load.waiting:.0f} held"] if load.waiting else []
    facts += [coming] if coming else []
    return Explanation(
        line=f"{count}, {owner}: {', '.join(facts)}",
        replicas=load.ready,
        desired=decision.replicas,
        min=policy.min,
        max=policy.max,
        authority=policy.authority.value,
        limiter=decision.limiter,
        because=decision.because,
        next=coming,
        next_change=decision.next_change,
        in_flight=load.in_flight,
        lag=load.lag,
        waiting=load.waiting,
        runnable=load.runnable,
        event_rate=round(load.event_rate, 3),
        request_rate=round(load.request_rate, 3),
        handler_ms=round(load.handler_seconds * 1000, 3),
        credit=load.credit,
        idle=load.idle,
        blind=load.blind,
    )


_NEXT = {"cooldown": "to zero in", "stable": "fewer in", "panic": "more in", "blind": "fallback in"}
"""What a decision waits for, by its limiter."""

_STANDING = {"max": "at the most allowed", "min": "at the least allowed", "starting": "starting"}


def _next(load: Load, decision: Decision) -> str:
    if decision.limiter in {"blind", "fallback"}:
        return decision.because
    if decision.next_change is not None and decision.limiter in _NEXT:
        return f"{_NEXT[decision.limiter]} {duration(decision.next_change)}"
    if decision.replicas != load.current:
        return f"going to {decision.replicas}"
    return _STANDING.get(decision.limiter, "")


def duration(time: timedelta) -> str:
    """``4 min 50 s``: the two largest units, seconds rounded up."""
    seconds = -int(-time.total_seconds() // 1)
    for unit, size, smaller, small in (("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if seconds >= size:
            rest = seconds % size // small
            return f"{seconds // size} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{seconds} s"
