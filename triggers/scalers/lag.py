"""Readings of subscriptions: what waits, what could start and what runs of a revision's events; pure."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from api.frames import TriggerReading


class Lag(msgspec.Struct, frozen=True, kw_only=True):
    """Sums over subscriptions."""

    lag: float = 0
    runnable: float = 0
    in_flight: float = 0
    handler_seconds: float = 0
    """Mean over the subscriptions, weighted by what each has done."""
    blind: str = ""


def newest(readings: Iterable[TriggerReading]) -> tuple[TriggerReading, ...]:
    """One reading per subscription: that of the highest epoch, where an old owner still speaks."""
    found: dict[str, TriggerReading] = {}
    for reading in readings:
        key = str(reading.subscription)
        if key not in found or reading.epoch > found[key].epoch:
            found[key] = reading
    return tuple(found[key] for key in sorted(found))


def read(readings: Iterable[TriggerReading]) -> Lag:
    """Sum *readings*, one per subscription."""
    readings = tuple(readings)
    blind = next((f"{one.subscription.name}: {one.blind}" for one in readings if one.blind), "")
    return Lag(
        lag=sum(one.lag for one in readings),
        runnable=sum(one.runnable for one in readings),
        in_flight=sum(one.in_flight for one in readings),
        handler_seconds=mean((one.handler_us, one.done) for one in readings),
        blind=blind,
    )


def mean(timed: Iterable[tuple[float, int]]) -> float:
    """Mean in seconds of (microseconds, times done); something that was never done has no weight."""
    timed = [(micros, done) for micros, done in timed if done > 0 and micros]
    total = sum(done for _, done in timed)
    return sum(micros * done for micros, done in timed) / total / 1e6 if total else 0.0
