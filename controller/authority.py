"""Who may write a function's replica count, exactly one at a time, and within which bounds; pure.

Paused (a person said so) > External (a foreign autoscaler on the target) > KEDA (a scaler that only KEDA has) > Evoke.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta

import msgspec

from api.errors import Problem
from api.scaling import Authority, ScalePolicy

PAUSED = "evoke.dev/paused"
"""Annotation of a Function: ``true`` holds the count as it is, a number sets and holds it."""
MIN = "evoke.dev/min-replicas"
MAX = "evoke.dev/max-replicas"
"""Annotations of a Function, written by `evoke scale`: bounds that stand in for those of its spec."""

OURS = frozenset({"kafka", "nats-jetstream", "stan"})
"""Scaler types that read the lag of a subscription: what the native mode reads anyway."""


def in_force(
    policy: ScalePolicy, annotations: Mapping[str, str], *, capabilities: Collection[str] = (), external: bool = False
) -> ScalePolicy:
    """*policy* with the bounds and the authority that hold now."""
    low, high = _count(annotations.get(MIN)), _count(annotations.get(MAX))
    bottom = policy.min if low is None else low
    top = max(policy.max if high is None else high, bottom, 1)
    if high is not None and low is None:
        bottom = min(bottom, max(high, 1))
        top = max(high, 1)
    paused = annotations.get(PAUSED, "").strip().lower()
    return msgspec.structs.replace(
        policy,
        min=bottom,
        max=top,
        authority=_authority(policy, paused, capabilities, external=external),
        paused_at=_count(paused),
    )


def _authority(policy: ScalePolicy, paused: str, capabilities: Collection[str], *, external: bool) -> Authority:
    if paused == "true" or _count(paused) is not None:
        return Authority.PAUSED
    if external:
        return Authority.EXTERNAL
    if lacking(policy) and "keda" in capabilities:
        return Authority.KEDA
    return Authority.EVOKE


def lacking(policy: ScalePolicy) -> tuple[str, ...]:
    """Declared scaler types that only KEDA has."""
    return tuple(sorted({scaler.kind for scaler in policy.scalers} - OURS))


def problems(policy: ScalePolicy, capabilities: Collection[str]) -> tuple[Problem, ...]:
    """What condition Accepted says about scalers that nobody here can read."""
    if "keda" in capabilities:
        return ()
    return tuple(
        Problem(
            code="ScalerNeedsKeda",
            message=f"scaler {kind} needs KEDA, which is not here; remove it, or install KEDA",
            path="spec.serving.scaleOptions.keda.triggers",
        )
        for kind in lacking(policy)
    )


def retired(policy: ScalePolicy) -> ScalePolicy:
    """The policy of a revision that gets no more traffic: it ends what it holds and goes."""
    return msgspec.structs.replace(
        policy, authority=Authority.EVOKE, paused_at=None, min=0, initial=0, cooldown=timedelta(), fallback=None
    )


def _count(text: str | None) -> int | None:
    """A replica count as an annotation has it; None where it is none."""
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 7 else None
