"""Events by the clock: a schedule in a time zone.

An event's id is its scheduled time, so that a tick which two proxies fire around a takeover is absorbed by the bus.
Ticks that passed while nobody ran the source are not made up for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from cronsim import CronSim, CronSimError

from api.frames import SourceReading
from api.model import Source
from eventbus.cloudevents import dedupe_id, encode
from eventbus.errors import BusError
from triggers.sources.source import BadSource, Publish, SourceError, uri

EVENT_TYPE = "io.evoke.cron.tick"
DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MAX_SLEEP = 30.0
"""Seconds: a clock that is set while we sleep is noticed within that."""
RETRY = 1.0

log = logging.getLogger(__name__)


class Schedule(msgspec.Struct, frozen=True):
    """When ticks are due: every so often, or by a cron expression in a time zone."""

    every: timedelta = timedelta(0)
    """Zero: by *expression*."""
    expression: str = ""
    zone: str = "UTC"

    def after(self, now: datetime) -> datetime:
        """The first tick later than *now*, in UTC."""
        if self.every:
            return EPOCH + ((now - EPOCH) // self.every + 1) * self.every
        local = now.astimezone(ZoneInfo(self.zone))
        return next(CronSim(self.expression, local)).astimezone(UTC)


def parse(text: str, zone: str = "UTC") -> Schedule:
    """Read ``@every 2s``, ``@hourly`` and the like, or cron of five fields, six with seconds; raises BadSource."""
    words = text.split()
    if len(words) == 2 and words[0] == "@every":
        return Schedule(every=_duration(words[1]))
    expression = DESCRIPTORS.get(text.strip(), text)
    schedule = Schedule(expression=expression, zone=zone)
    try:
        schedule.after(datetime(2026, 1, 1, tzinfo=UTC))
    except (CronSimError, StopIteration) as error:
        raise BadSource(
            f"schedule {text!r} does not hold: {error}", hint="write `@every 30s` or `0 9 * * 1-5`"
        ) from error
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise BadSource(f"time zone {zone!r} is not known", hint="write one such as Europe/Berlin") from error
    return schedule


def _duration(text: str) -> timedelta:
    """A Go duration such as ``1m30s``."""
    total, rest = 0.0, text
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = next((unit for unit in ("ms", "s", "m", "h") if rest.startswith(unit)), "")
        try:
            total += float(digits) * UNITS[unit]
        except (ValueError, KeyError):
            raise BadSource(f"duration {text!r} does not hold", hint="write one such as 30s or 1m30s") from None
        rest = rest[len(unit) :]
    if total < 0.1:
        raise BadSource(f"duration {text!r} is too short", hint="the shortest is 100ms")
    return timedelta(seconds=total)


def _now() -> datetime:
    return datetime.now(UTC)


class CronSource:
    """Options: schedule, timeZone."""

    def __init__(self, source: Source, options: Mapping[str, str], *, now: Callable[[], datetime] = _now) -> None:
        self._key = source.key
        self._uri = uri(source, "cron")
        self._schedule = parse(options.get("schedule", ""), options.get("timeZone") or "UTC")
        self._now = now
        self._fired = 0
        self._published = 0
        self._trouble = ""

    async def run(self, publish: Publish) -> None:
        due = self._schedule.after(self._now())
        while True:
            wait = (due - self._now()).total_seconds()
            if wait > 0:
                await asyncio.sleep(min(wait, MAX_SLEEP))
                continue
            self._fired += 1
            await self._fire(publish, due)
            due = self._schedule.after(max(due, self._now() - timedelta(seconds=1)))

    async def _fire(self, publish: Publish, due: datetime) -> None:
        """Publish one tick, again until the bus has it or the next one is due."""
        id_ = due.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        body = msgspec.json.encode({"scheduled": id_})
        payload = encode(
            id=id_, source=self._uri, type=EVENT_TYPE, body=body, content_type="application/json", time=due
        )
        until = self._schedule.after(due)
        while True:
            try:
                await publish(payload, key="", dedupe=dedupe_id(self._uri, id_))
            except BusError as error:
                self._trouble = str(error)
                if self._now() >= until:
                    log.warning("tick %s of %s was not published: %s", id_, self._key, error)
                    return
                await asyncio.sleep(RETRY)
            else:
                self._published += 1
                self._trouble = ""
                return

    def state(self) -> SourceReading:
        return SourceReading(
            source=self._key,
            connected=not self._trouble,
            received=self._fired,
            published=self._published,
            reason="Unreachable" if self._trouble else "",
            message=self._trouble,
        )

    async def publish(self, topic: str, payload: bytes) -> None:  # noqa: ARG002  # the Protocol's
        raise SourceError("a cron source takes no messages", hint="publish to its event bus: evoke publish --bus")
