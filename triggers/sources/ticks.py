"""When ticks are due, and which of those that passed are still to be fired; pure.

Local times that a change to summer time leaves out or repeats follow Debian's cron: a fixed hour that is left out fires
when the gap ends, one that comes twice fires once, and wildcard hours go on every hour of real time. Schedules with
seconds follow the same rules, minute by minute.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec
from cronsim import CronSim

from api import durations, schedules
from triggers.sources.source import BadSource

Missed = Literal["skip", "once", "all"]

MOST = 100
"""Ticks that are fired after they were missed."""
LATE = timedelta(minutes=1)
"""With ``skip`` a tick that is later than this is skipped: the clock jumped, or the machine slept."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Schedule(msgspec.Struct, frozen=True):
    """Every so often, or by a cron expression in a time zone."""

    every: timedelta = timedelta(0)
    """Zero: by *expression*."""
    expression: str = ""
    """Five fields."""
    seconds: tuple[int, ...] = (0,)
    """Of each minute that the expression names."""
    zone: str = "UTC"

    def after(self, moment: datetime) -> datetime:
        """The first tick later than *moment*, in UTC."""
        return next(self.ticks(moment))

    def ticks(self, moment: datetime) -> Iterator[datetime]:
        """All ticks later than *moment*, in UTC, without end."""
        if self.every:
            tick = EPOCH + (moment - EPOCH) // self.every * self.every
            while True:
                tick += self.every
                yield tick
        # cronsim answers with the first of two equal local times when asked within the second: hence the comparison
        for minute in CronSim(self.expression, (moment - MINUTE).astimezone(ZoneInfo(self.zone))):
            for second in self.seconds:
                tick = minute.astimezone(UTC) + timedelta(seconds=second)
                if tick > moment:
                    yield tick

    def between(self, start: datetime, end: datetime) -> list[datetime]:
        """Ticks later than *start* and not later than *end*: the newest MOST, however long that is."""
        if self.every:
            start = max(start, end - MOST * self.every)
        span = MINUTE
        while True:
            first = max(start, end - span)
            found: list[datetime] = []
            for tick in self.ticks(first):
                if tick > end:
                    break
                found.append(tick)
            if len(found) >= MOST or first == start:
                return found[-MOST:]
            span *= 4


def parse(text: str, zone: str = "UTC") -> Schedule:
    """Read ``@every 2s``, ``@hourly`` and the like, or cron of five fields, six with seconds; raises BadSource."""
    if wrong := schedules.defect(f"CRON_TZ={zone} {text}"):
        raise BadSource(f"schedule {text!r} does not hold: {wrong}")
    if text.startswith("@every"):
        return Schedule(every=durations.parse(text.removeprefix("@every").strip()))
    fields = schedules.MACROS.get(text.strip(), text).split()
    if len(fields) == 5:
        return Schedule(expression=" ".join(fields), zone=zone)
    seconds = CronSim(" ".join(fields), EPOCH).seconds
    return Schedule(expression=" ".join(fields[1:]), seconds=tuple(sorted(seconds)), zone=zone)


def owed(
    schedule: Schedule, *, seen: datetime, now: datetime, missed: Missed, fired: Container[datetime] = ()
) -> tuple[Sequence[datetime], int]:
    """Ticks to fire now, oldest first, of those after *seen*, and how many are not fired; *fired* ones do not count."""
    passed = [tick for tick in schedule.between(seen, now) if tick not in fired]
    if missed == "all" or not passed:
        return passed, 0
    if missed == "skip" and now - passed[-1] > LATE:
        return (), len(passed)
    return passed[-1:], len(passed) - 1
