"""Lag of a Kafka consumer group as KEDA's ``kafka`` scaler counts it, from offsets that were read; pure.

One thing is ours: where the lag is limited to the partitions, the comparison is exact. KEDA divides with integers
first, so that a lag of 29 at a threshold of 5 asks for 6 replicas of 5 partitions.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

import msgspec

Partition: TypeAlias = tuple[str, int]
"""Topic and number."""
_RANGE = re.compile(r"(\d+)(?:-(\d+))?", re.ASCII)


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Metadata of the scaler that says how lag is counted."""

    threshold: int = 10
    activation: int = 0
    reset: Literal["latest", "earliest"] = "latest"
    """offsetResetPolicy."""
    zero_on_invalid: bool = False
    """scaleToZeroOnInvalidOffset."""
    idle_consumers: bool = False
    """allowIdleConsumers."""
    exclude_persistent: bool = False
    """excludePersistentLag."""
    only_lagging: bool = False
    """limitToPartitionsWithLag."""
    even: bool = False
    """ensureEvenDistributionOfPartitions."""


class Offsets(msgspec.Struct, frozen=True, kw_only=True):
    """Of one partition."""

    committed: int
    """-1: the group has none."""
    end: int | None
    """End of the log; None: the broker said nothing of it."""


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """What a read comes to."""

    value: int
    """For the target, capped."""
    active: bool
    offsets: dict[Partition, int]
    """Committed offsets, which the next read compares."""


def limited_to(text: str) -> frozenset[int] | None:
    """Partitions that ``partitionLimitation`` names (``1-4,8,10-12``); None: all. Raises ValueError."""
    if not text.strip():
        return None
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"partitionLimitation: `{part.strip()[:40]}` is no number and no range such as 1-4")
        first = int(match[1])
        found.update(range(first, int(match[2] or first) + 1))
    return frozenset(found)


def metric_name(index: int, *, topic: str, group: str) -> str:
    """What KEDA calls the metric of the trigger at *index*."""
    return f"s{index}-kafka-{topic or f'{group}-topics'}"


def partition_lag(settings: Settings, offsets: Offsets) -> int:
    """Events that wait in one partition."""
    if offsets.committed == -1:
        if settings.zero_on_invalid:
            return 0
        if settings.reset == "latest":
            return 1
    if offsets.end is None:
        return 0
    return offsets.end if offsets.committed == -1 else offsets.end - offsets.committed


def total(settings: Settings, partitions: Mapping[Partition, Offsets], before: Mapping[Partition, int]) -> Lag:
    """Lag over *partitions*; *before* are the committed offsets of the last read."""
    lags = {key: partition_lag(settings, offsets) for key, offsets in partitions.items()}
    committed = {key: offsets.committed for key, offsets in partitions.items()}
    counted = lags
    if settings.exclude_persistent:  # what did not move since the last read is stuck: it wakes, and asks for nothing
        counted = {key: 0 if before.get(key) == committed[key] else lag for key, lag in lags.items()}
    value = max(sum(counted.values()), 0)
    return Lag(
        value=_capped(settings, value, list(counted.values())),
        active=sum(lags.values()) > settings.activation,
        offsets=committed,
    )


def _capped(settings: Settings, lag: int, lags: list[int]) -> int:
    """No more than the partitions can use."""
    if settings.even:
        return even(len(lags), settings.threshold, lag) * settings.threshold if lag else 0
    if settings.idle_consumers and not settings.only_lagging:
        return lag
    useful = sum(1 for one in lags if one > 0) if settings.only_lagging else len(lags)
    return min(lag, useful * settings.threshold)


def even(partitions: int, threshold: int, lag: int) -> int:
    """The fewest replicas that share *partitions* evenly and carry *lag*; all of them where none does."""
    wanted = math.ceil(lag / threshold)
    return next((factor for factor in divisors(partitions) if factor >= wanted), partitions)


def divisors(number: int) -> Iterable[int]:
    return (one for one in range(1, number + 1) if number % one == 0)
