"""Durations as Kubernetes and Go write them: ``30s``, ``1m30s``, ``250ms``, ``1.5h``."""

from __future__ import annotations

import re
from datetime import timedelta

LONGEST = timedelta(days=366)
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_PART = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|µs|ms|s|m|h)", re.ASCII)
_WHOLE = re.compile(rf"(?:{_PART.pattern})+|0", re.ASCII)


def parse(text: str) -> timedelta:
    """Read a duration of 0 to 366 days; raises ValueError that says what is expected."""
    if len(text) > 64 or not _WHOLE.fullmatch(text):
        raise ValueError(f"`{text[:40]}` is no duration: write it as `30s`, `1m30s`, `250ms` or `2h`")
    seconds = sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(text))
    if seconds > LONGEST.total_seconds():
        raise ValueError(f"`{text}` is longer than 8784h (366 days)")
    return timedelta(seconds=seconds)


def wait(given: str | int) -> timedelta:
    """Read a duration, or milliseconds where it is a bare number; raises ValueError."""
    text = str(given)
    return parse(f"{text}ms" if text.isascii() and text.isdigit() and len(text) <= 9 else text)


def render(duration: timedelta) -> str:
    """Write *duration* so that parse() reads it back, to the microsecond."""
    micros = round(duration / timedelta(microseconds=1))
    parts = []
    for unit, size in (("h", 3_600_000_000), ("m", 60_000_000), ("s", 1_000_000), ("ms", 1000), ("us", 1)):
        count, micros = divmod(micros, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"
