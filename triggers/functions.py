"""Functions of conditions: ``size(x)``, ``x.startsWith(y)``, conversions, regular expressions; as in CEL."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from api import durations
from api.errors import InvalidInput, Problem
from triggers.arithmetic import bounded
from triggers.evaluation import UNSET, Value

MAX_PATTERN = 1024
"""Bytes of a regular expression."""

_INTEGER = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_BOOLS = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "1"), True),
    **dict.fromkeys(("false", "False", "FALSE", "f", "0"), False),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def call(name: str, arguments: Sequence[Value]) -> Value | None:
    """The function *name*, its receiver among the arguments; None: there is none with so many of them."""
    found = FUNCTIONS.get(name)
    if found is None or found[0] != len(arguments):
        return None
    function = found[1]
    if len(arguments) == 1:
        (only,) = arguments
        return lambda record: UNSET if (value := only(record)) is UNSET else function(value)
    first, second = arguments

    def both(record: Any) -> Any:
        one, other = first(record), second(record)
        return function(one, other) if isinstance(one, str) and isinstance(other, str) else UNSET

    return both


def matches(value: Value, pattern: str) -> Value:
    """Whether *pattern* is found in a text, in time linear in it (RE2); raises InvalidInput (E125, E126)."""
    if len(pattern.encode(errors="replace")) > MAX_PATTERN:
        raise InvalidInput([Problem(code="E126", message=f"the pattern is longer than {MAX_PATTERN} bytes")])
    import re2  # here: machine code that few conditions need

    options = re2.Options()
    options.log_errors = False
    try:
        search = re2.compile(pattern, options).search
    except re2.error as error:
        reason = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        message = f"the pattern `{pattern[:60]}` is no regular expression of RE2: {reason}"
        raise InvalidInput([Problem(code="E125", message=message)]) from None

    def found(record: Any) -> Any:
        text = value(record)
        return search(text) is not None if isinstance(text, str) else UNSET

    return found


def _size(value: Any) -> Any:
    return len(value) if isinstance(value, str | list | dict) else UNSET


def _int(value: Any) -> Any:
    if isinstance(value, str):
        return bounded(int(value)) if _INTEGER.fullmatch(value) else UNSET
    if isinstance(value, datetime):
        return int(value.timestamp())
    return bounded(int(value)) if type(value) in {int, float} and math.isfinite(value) else UNSET


def _double(value: Any) -> Any:
    try:
        return float(value) if type(value) in {int, float, str} else UNSET
    except (ValueError, OverflowError):
        return UNSET


def _string(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.6f}".rstrip("0").rstrip(".") + "s"
    return str(value) if isinstance(value, str | int | float) else UNSET


def _bool(value: Any) -> Any:
    if isinstance(value, str):
        return _BOOLS.get(value, UNSET)
    return value if isinstance(value, bool) else UNSET


def _timestamp(value: Any) -> Any:
    """RFC 3339 text, or unix seconds."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and _TIME.fullmatch(value):
            return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", value.upper()))
        return datetime.fromtimestamp(value, UTC) if type(value) is int else UNSET
    except (ValueError, OverflowError, OSError):
        return UNSET


def _duration(value: Any) -> Any:
    if isinstance(value, timedelta):
        return value
    if not isinstance(value, str):
        return UNSET
    try:
        return -durations.parse(value[1:]) if value.startswith("-") else durations.parse(value)
    except ValueError:
        return UNSET


def _part(of_time: Callable[[datetime], int], seconds: float | None = None) -> Callable[[Any], Any]:
    """A part of a time in UTC; of a duration the whole of it in units of so many *seconds*."""

    def part(value: Any) -> Any:
        if isinstance(value, datetime):
            return of_time(value.astimezone(UTC))
        return int(value.total_seconds() / seconds) if isinstance(value, timedelta) and seconds else UNSET

    return part


def _text(function: Callable[[str], str]) -> Callable[[Any], Any]:
    return lambda value: function(value) if isinstance(value, str) else UNSET


def _ascii(function: Callable[[str], str]) -> Callable[[Any], Any]:
    """Letters of ASCII only, as CEL's extension has it."""
    return _text(lambda text: "".join(function(one) if one.isascii() else one for one in text))


FUNCTIONS: Mapping[str, tuple[int, Callable[..., Any]]] = {
    "size": (1, _size),
    "startsWith": (2, str.startswith),
    "endsWith": (2, str.endswith),
    "contains": (2, lambda text, part: part in text),
    "lowerAscii": (1, _ascii(str.lower)),
    "upperAscii": (1, _ascii(str.upper)),
    "trim": (1, _text(str.strip)),
    "getFullYear": (1, _part(lambda time: time.year)),
    "getMonth": (1, _part(lambda time: time.month - 1)),
    "getDate": (1, _part(lambda time: time.day)),
    "getDayOfMonth": (1, _part(lambda time: time.day - 1)),
    "getDayOfWeek": (1, _part(lambda time: time.isoweekday() % 7)),
    "getDayOfYear": (1, _part(lambda time: time.timetuple().tm_yday - 1)),
    "getHours": (1, _part(lambda time: time.hour, 3600)),
    "getMinutes": (1, _part(lambda time: time.minute, 60)),
    "getSeconds": (1, _part(lambda time: time.second, 1)),
    "int": (1, _int),
    "double": (1, _double),
    "string": (1, _string),
    "bool": (1, _bool),
    "timestamp": (1, _timestamp),
    "duration": (1, _duration),
}
"""Name -> number of arguments, the receiver among them, and the function; those with two take texts."""
CONVERSIONS = frozenset({"int", "double", "string", "bool", "timestamp", "duration"})
METHODS = frozenset(FUNCTIONS) - CONVERSIONS
"""Those that stand behind their first argument; ``size`` stands before it too."""
EVERYWHERE = frozenset({"size"})
NAMES = f"has, matches, {', '.join(FUNCTIONS)}, and the macros all, exists, exists_one, filter, map"
