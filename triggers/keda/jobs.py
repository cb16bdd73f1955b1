"""How many Jobs a ScaledJob starts; pure.

Source: KEDA's executor of ScaledJobs: the joining of several triggers, and the four strategies.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

Join = Literal["max", "min", "avg", "sum"]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What one trigger says."""

    queue: float
    """Sum of its metrics."""
    targets: tuple[float, ...]
    """Target of each of its metrics."""
    active: bool


class Queue(msgspec.Struct, frozen=True, kw_only=True):
    """What all triggers say together."""

    length: int = 0
    most: int = 0
    """Jobs that it is worth."""
    active: bool = False


class Jobs(msgspec.Struct, frozen=True, kw_only=True):
    """Unfinished Jobs."""

    running: int = 0
    pending: int = 0
    """Of those: without a pod that runs or has."""


class Strategy(msgspec.Struct, frozen=True, kw_only=True):
    kind: Literal["default", "custom", "accurate", "eager"] = "default"
    deduction: int = 0
    """``custom``: taken off."""
    share: float | None = 0.0
    """``custom``: share of the running ones that is taken off; None: it could not be read, and *default* decides."""


def bounds(minimum: int, maximum: int) -> tuple[int, int]:
    """(least, most beyond the least): a minimum above the maximum counts as the maximum."""
    least = min(minimum, maximum)
    return least, maximum - least


def join(readings: Iterable[Reading], how: Join, *, least: int, most: int) -> Queue:
    """One queue of those triggers that are active; a minimum makes it active in any case."""
    rows = [(one.queue, _worth(one, most)) for one in readings if one.active]
    length, worth = _joined(rows, how) if rows else (0.0, 0.0)
    return Queue(length=math.ceil(length), most=min(math.ceil(worth), most), active=bool(rows) or least > 0)


def _worth(reading: Reading, most: int) -> float:
    mean = sum(reading.targets) / len(reading.targets) if reading.targets else 0.0
    return min(float(most), reading.queue / mean) if mean else 0.0


def _joined(rows: Sequence[tuple[float, float]], how: Join) -> tuple[float, float]:
    match how:
        case "max":
            return max(rows, key=lambda row: row[0])
        case "min":
            return min(rows, key=lambda row: row[0])
        case "sum":
            return sum(row[0] for row in rows), sum(row[1] for row in rows)
        case "avg":
            return sum(row[0] for row in rows) / len(rows), sum(row[1] for row in rows) / len(rows)


def create(strategy: Strategy, queue: Queue, jobs: Jobs, *, least: int, most: int) -> int:
    """Jobs to create now: up to the minimum first, then what the strategy says; those that run are never ended."""
    if jobs.running < least:
        return least - jobs.running
    if not queue.active:
        return 0
    count, limit = wanted(strategy, queue, jobs.running - least, jobs.pending, most)
    return min(limit, max(count, 0))


def wanted(strategy: Strategy, queue: Queue, running: int, pending: int, most: int) -> tuple[int, int]:
    """(Jobs by the strategy, the limit on them); *running* is without the minimum."""
    match strategy.kind:
        case "custom" if strategy.share is not None:
            return min(queue.most - strategy.deduction - int(running * strategy.share), most), queue.length
        case "accurate":
            room = queue.most + running - pending > most
            return (most - running if room else queue.most - pending), queue.length
        case "eager":
            return min(most - running - pending, queue.most), most
        case _:
            return queue.most - running, queue.length
