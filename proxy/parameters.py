"""Bodies and query parameters of the operations API as values; raises InvalidInput for those that do not hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from api.errors import InvalidInput, Problem

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_AGO = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)([smhd])", re.ASCII)


def invalid(message: str) -> InvalidInput:
    return InvalidInput([Problem(code="E111", message=message)])


def decoded(body: bytes, type_: Any) -> Any:
    """The JSON *body* as a *type_*."""
    try:
        return msgspec.json.decode(body, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid(str(error)) from error


def moment(text: str, now: datetime) -> datetime | None:
    """``10m`` before *now*, or an RFC 3339 time; None where nothing is given."""
    if not text:
        return None
    try:
        if match := _AGO.fullmatch(text):
            return now - timedelta(seconds=float(match[1]) * _UNITS[match[2]])
        at = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise invalid(f"since is `{text[:40]}`: write 10m, or a time such as 2026-01-31T12:00:00Z") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def count(text: str, name: str) -> int | None:
    """A count of at least one; None where nothing is given."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and int(text[:9]) > 0 and len(text) < 10):
        raise invalid(f"{name} is `{text[:40]}`: write a whole number above 0")
    return int(text)
