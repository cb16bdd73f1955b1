"""Cron schedules as users write them: what is wrong with one, field by field."""

from __future__ import annotations

import zoneinfo
from datetime import UTC, datetime, timedelta

from api import durations

MACROS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = ("minute (0-59)", "hour (0-23)", "day of month (1-31)", "month (1-12)", "day of week (0-7)")
_SMALLEST = timedelta(milliseconds=100)


def split(schedule: str) -> tuple[str, str]:
    """Time zone (empty: UTC) and the rest of ``CRON_TZ=Europe/Berlin * * * * *``."""
    first, _, rest = schedule.strip().partition(" ")
    if first.startswith(("CRON_TZ=", "TZ=")):
        return first.partition("=")[2], rest.strip()
    return "", schedule.strip()


def defect(schedule: str) -> str:
    """What is wrong with *schedule*; empty: nothing."""
    zone, text = split(schedule)
    if zone and not _zone_exists(zone):
        return f"no time zone `{zone}`: write it as `CRON_TZ=Europe/Berlin`"
    if text.startswith("@every"):
        return _every(text.removeprefix("@every").strip())
    if text.startswith("@"):
        return "" if text in MACROS else f"`{text}` is unknown: use `@every 30s` or one of {', '.join(MACROS)}"
    return _cron(text)


def _every(text: str) -> str:
    try:
        period = durations.parse(text)
    except ValueError as error:
        return str(error)
    return "" if period >= _SMALLEST else "`@every` takes at least 100ms"


def _cron(text: str) -> str:
    from cronsim import CronSim, CronSimError  # only files with a cron schedule need it

    parts = text.split()
    if len(parts) not in {5, 6}:
        return f"cron has five fields, or six with seconds first; this one has {len(parts)}: {', '.join(_FIELDS)}"
    try:
        next(CronSim(text, datetime(2024, 1, 1, tzinfo=UTC)))
    except StopIteration:
        return "no such date ever comes"
    except (CronSimError, ValueError) as error:
        return f"{str(error).lower()} in `{text}`: fields are {', '.join(_FIELDS)}"
    return ""


def _zone_exists(zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone)
    except (ValueError, OSError, zoneinfo.ZoneInfoNotFoundError):
        return False
    return True
