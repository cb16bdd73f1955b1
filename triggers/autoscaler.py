"""How many replicas a revision should have: native mode, pure and total.

Growth follows what the load asks for at once, at most doubling per PACE; scale-in waits until a whole stable window
asked for less, and the last replica goes only after the cooldown. Whoever cannot see holds: blind never decreases.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

import msgspec

from api.scaling import Authority, ScalePolicy
from triggers.load import Load, asked, trusted

Limiter = Literal[
    "none", "min", "max", "cooldown", "stable", "blind", "fallback", "draining", "runnable", "panic", "starting",
    "paused", "external",
]  # fmt: skip
"""What kept the answer from being what the load asks for."""

GROW_AT = 0.8
"""Growth aims at this share of the credit in use..."""
SHRINK_AT = 0.6
"""...and scale-in at this one: between the two a constant load changes nothing."""
PACE = 1.0
"""Seconds between two growths; each may double."""
STABLE = 60.0
"""Longest stable window, in seconds; a shorter cooldown shortens it."""
POLLING = 30.0
"""Seconds per failed reading of KEDA's fallback.failureThreshold (its default pollingInterval)."""


class History(msgspec.Struct, frozen=True, kw_only=True):
    """What the next decision must remember; times are monotonic seconds."""

    asks: tuple[tuple[float, int], ...] = ()
    """(time, replicas asked for), newest last; only those that no later one outdid."""
    busy_at: float | None = None
    """When work was last seen; None: not looked yet."""
    grown_at: float | None = None
    blind_since: float | None = None


class Decision(msgspec.Struct, frozen=True, kw_only=True):
    replicas: int
    because: str
    """One line for people."""
    limiter: Limiter = "none"
    next_change: timedelta | None = None
    """When the answer may change although the load does not; None: it stays."""
    history: History = History()


def desired_replicas(policy: ScalePolicy, load: Load, history: History, now: float) -> Decision:
    """Answer the replica count for *load* at monotonic time *now*.

    Never raises: a reading that is no finite number >= 0 counts as blind.
    """
    load = trusted(load)
    history = _remember(policy, load, history, now)
    if policy.authority is not Authority.EVOKE:
        return _leave(policy, load, history)
    count, capped = asked(load, GROW_AT)
    limiter: Limiter = "runnable" if capped else "none"
    if policy.min > count:
        count, limiter = policy.min, "min"
    if count > policy.max:
        count, limiter = policy.max, "max"
    if count > load.current:
        return _grow(policy, load, history, now, count, limiter)
    if load.current > policy.max:
        return Decision(replicas=policy.max, because=f"at most {policy.max} allowed", limiter="max", history=history)
    if load.blind:
        return _hold(policy, load, history, now)
    return _shrink(policy, load, history, now, limiter)


def _remember(policy: ScalePolicy, load: Load, history: History, now: float) -> History:
    """*history* with what this look adds."""
    keep, _ = asked(load, SHRINK_AT)
    keep = min(max(keep, load.current) if load.blind else keep, policy.max)
    asks = [(at, ask) for at, ask in history.asks if at >= now - _window(policy) and ask > keep]
    busy = load.work or load.arrived or load.blind
    return msgspec.structs.replace(
        history,
        asks=(*asks, (now, keep)),
        busy_at=now if busy or history.busy_at is None else history.busy_at,
        blind_since=(now if history.blind_since is None else history.blind_since) if load.blind else None,
    )


def _leave(policy: ScalePolicy, load: Load, history: History) -> Decision:
    """Somebody else decides."""
    if policy.authority is Authority.PAUSED:
        count = load.current if policy.paused_at is None else policy.paused_at
        return Decision(replicas=count, because=f"paused at {count}", limiter="paused", history=history)
    because = f"{policy.authority.value} decides"
    return Decision(replicas=load.current, because=because, limiter="external", history=history)


def _grow(policy: ScalePolicy, load: Load, history: History, now: float, wanted: int, limiter: Limiter) -> Decision:
    """Towards *wanted*, which is more than there is and within the bounds."""
    least = min(max(policy.min, 1), wanted)
    paced = history.grown_at is not None and now - history.grown_at < PACE
    because = explain(load, limiter)
    if load.current == 0:
        allowed = wanted if load.handler_seconds else max(least, min(policy.initial, wanted))
    elif load.ready == 0 or paced:
        allowed = max(least, load.current)
    else:
        allowed = max(least, min(2 * load.current, wanted))
    if allowed < wanted:
        limiter = "panic" if load.ready else "starting"
    if allowed > load.current:
        history = msgspec.structs.replace(history, grown_at=now)
    left = timedelta(seconds=max(0.0, PACE - (now - (history.grown_at or now))))
    return Decision(
        replicas=allowed,
        because=because,
        limiter=limiter,
        next_change=left if limiter == "panic" else None,
        history=history,
    )


def _hold(policy: ScalePolicy, load: Load, history: History, now: float) -> Decision:
    """Hold; after KEDA's failure threshold go up to the fallback count, never down to it."""
    held = Decision(replicas=load.current, because=f"held: {load.blind}", limiter="blind", history=history)
    fallback = policy.fallback or {}
    replicas, threshold = fallback.get("replicas"), fallback.get("failureThreshold", 3)
    if not isinstance(replicas, int) or not isinstance(threshold, int):
        return held
    since = now if history.blind_since is None else history.blind_since
    left = since + threshold * POLLING - now
    if left > 0:
        return msgspec.structs.replace(held, next_change=timedelta(seconds=left))
    count = max(load.current, min(replicas, policy.max))
    because = f"blind for {now - since:.0f} s: {load.blind}"
    return Decision(replicas=count, because=because, limiter="fallback", history=history)


def _shrink(policy: ScalePolicy, load: Load, history: History, now: float, limiter: Limiter) -> Decision:
    """Stay, or give back what the whole stable window did not ask for."""
    current = load.current
    idle_for = now - (now if history.busy_at is None else history.busy_at)
    rested = not load.work and idle_for >= policy.cooldown.total_seconds()
    wanted = 0 if rested else max(1, *(ask for _, ask in history.asks))
    target = min(max(wanted, min(policy.min, policy.max)), current)
    if target == current:
        return _stay(policy, load, history, now, limiter)
    allowed = max(target, current - max(load.idle, 1))  # a busy replica is drained too, but one at a time
    wait = timedelta(seconds=PACE) if allowed > target else None
    return Decision(
        replicas=allowed,
        because=f"idle for {idle_for:.0f} s" if target == 0 else f"{target} {'is' if target == 1 else 'are'} enough",
        limiter="draining" if allowed > target else "none",
        next_change=wait if wait or not target else _until_zero(policy, history, now),
        history=history,
    )


def _stay(policy: ScalePolicy, load: Load, history: History, now: float, limiter: Limiter) -> Decision:
    """Keep what there is, and say until when."""
    newest = history.asks[-1][1]
    wait: timedelta | None = None
    if load.current > max(newest, policy.min, 1):
        limiter = "stable"
        outdone = max((at for at, ask in history.asks if ask >= load.current), default=now)
        wait = timedelta(seconds=max(0.0, outdone + _window(policy) - now))
    elif load.current and newest == 0 and policy.min == 0:
        limiter, wait = "cooldown", _until_zero(policy, history, now)
    return Decision(
        replicas=load.current, because=explain(load, limiter), limiter=limiter, next_change=wait, history=history
    )


def _window(policy: ScalePolicy) -> float:
    return min(policy.cooldown.total_seconds(), STABLE)


def _until_zero(policy: ScalePolicy, history: History, now: float) -> timedelta | None:
    """Time until the last replica may go, if nothing comes; None: it may not."""
    if policy.min > 0:
        return None
    busy_at = now if history.busy_at is None else history.busy_at
    return timedelta(seconds=max(0.0, busy_at + policy.cooldown.total_seconds() - now))


def explain(load: Load, limiter: Limiter = "none") -> str:
    """The load in one line for people."""
    if load.current == 0 and load.lag:
        return f"event waiting, lag {load.lag:.0f}"
    if load.current == 0 and load.waiting:
        return f"request waiting, {load.waiting:.0f} held"
    if limiter == "min":
        return "the least allowed"
    if not load.work:
        return "nothing waits"
    text = f"in-flight {load.in_flight:.0f}, lag {load.lag:.0f}"
    if load.waiting:
        text += f", {load.waiting:.0f} held"
    return f"{text}, {load.runnable:.0f} keys can start" if limiter == "runnable" else text
