"""How facts read: conditions, ages, spans of time. Pure; the clock is passed in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any


def condition(status: Mapping[str, Any], type_: str = "Ready") -> Mapping[str, Any]:
    """The condition of *type_* in a resource's status; empty when it has none yet."""
    found: Sequence[Mapping[str, Any]] = status.get("conditions") or ()
    return next((one for one in found if one.get("type") == type_), {})


def is_ready(resource: Mapping[str, Any]) -> bool:
    """Ready, and for what the resource says now, not for an older generation of it."""
    ready = condition(resource.get("status") or {})
    seen = ready.get("observedGeneration") or 0
    return ready.get("status") == "True" and seen >= (resource["metadata"].get("generation") or 0)


def readiness(resource: Mapping[str, Any]) -> str:
    """``True``, or the truth with its reason: ``False/HandlerError``."""
    ready = condition(resource.get("status") or {})
    if not ready:
        return "Unknown"
    return "True" if ready["status"] == "True" else f"{ready['status']}/{ready.get('reason', '')}"


def name_of(resource: Mapping[str, Any]) -> str:
    """``function/on-reading``"""
    return f"{resource['kind'].lower()}/{resource['metadata']['name']}"


def moment(text: str | None) -> datetime | None:
    """Read an RFC 3339 time; None for nothing and for what is no time."""
    try:
        at = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def age(text: str | None, now: datetime) -> str:
    """``5s``, ``12m``, ``3h``, ``4d`` since *text*; empty when it is no time."""
    at = moment(text)
    if at is None:
        return ""
    seconds = max(0, int((now - at).total_seconds()))
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size or (unit == "d" and seconds >= size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def span(time: timedelta) -> str:
    """``9 s``, ``4 min 50 s``, ``2 h 5 min``"""
    seconds = max(0, round(time.total_seconds()))
    parts = ((seconds // 3600, "h"), (seconds % 3600 // 60, "min"), (seconds % 60, "s"))
    said = [f"{count} {unit}" for count, unit in parts if count][:2]
    return " ".join(said) or "0 s"


def duration(value: Any) -> timedelta | None:
    """Seconds, or ISO 8601 as msgspec writes it (``PT290S``), or Go's ``4m50s``; None when it is neither."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return timedelta(seconds=value)
    if not isinstance(value, str) or not value:
        return None
    import re

    found = re.fullmatch(r"P?(?:(\d+)D)?T?(?:([\d.]+)H)?(?:([\d.]+)M)?(?:([\d.]+)S)?", value.upper().replace(" ", ""))
    if not found or not any(found.groups()):
        return None
    days, hours, minutes, seconds = (float(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def counted(count: int, noun: str) -> str:
    """``1 replica``, ``2 replicas``"""
    if count == 1:
        return f"1 {noun}"
    return f"{count} {noun[:-1]}ies" if noun.endswith("y") else f"{count} {noun}s"
