"""Arithmetic of conditions, as in CEL; what has no answer (another type, zero, more than 64 bits) cannot be told."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from triggers.evaluation import UNSET, Value

SMALLEST, LARGEST = -(1 << 63), (1 << 63) - 1


def operation(sign: str, left: Value, right: Value) -> Value:
    """``+``, ``-``, ``*``, ``/`` or ``%``; an integer and a fraction make a fraction."""
    compute = _NUMBERS[sign]
    others = _OTHERS.get(sign)

    def operate(record: Any) -> Any:
        one, other = left(record), right(record)
        try:
            if type(one) in {int, float} and type(other) in {int, float}:
                return bounded(compute(one, other))
            return others(one, other) if others is not None else UNSET
        except (ArithmeticError, ValueError):
            return UNSET

    return operate


def negative(value: Value) -> Value:
    def negate(record: Any) -> Any:
        found = value(record)
        return bounded(-found) if type(found) in {int, float} else UNSET

    return negate


def bounded(value: Any) -> Any:
    return UNSET if type(value) is int and not SMALLEST <= value <= LARGEST else value


def _quotient(left: Any, right: Any) -> Any:
    """Of integers rounded towards 0; of fractions as IEEE 754 has it."""
    if type(left) is int and type(right) is int:
        found = abs(left) // abs(right)
        return found if (left < 0) == (right < 0) else -found
    if right == 0:
        sign = math.copysign(1, left) * math.copysign(1, right)
        return math.nan if left == 0 or math.isnan(left) else sign * math.inf
    return left / right


def _remainder(left: Any, right: Any) -> Any:
    """Of integers only, with the sign of *left*."""
    if type(left) is not int or type(right) is not int:
        return UNSET
    found = abs(left) % abs(right)
    return -found if left < 0 else found


def _sum(left: Any, right: Any) -> Any:
    """Texts and lists one after the other; a time and a duration."""
    if isinstance(left, str) and isinstance(right, str):
        return left + right
    if isinstance(left, list) and isinstance(right, list):
        return left + right
    if isinstance(left, datetime | timedelta) and isinstance(right, timedelta):
        return left + right
    return right + left if isinstance(left, timedelta) and isinstance(right, datetime) else UNSET


def _difference(left: Any, right: Any) -> Any:
    if isinstance(left, datetime) and isinstance(right, datetime | timedelta):
        return left - right
    return left - right if isinstance(left, timedelta) and isinstance(right, timedelta) else UNSET


_NUMBERS: Mapping[str, Callable[[Any, Any], Any]] = {
    "+": lambda left, right: left + right,
    "-": lambda left, right: left - right,
    "*": lambda left, right: left * right,
    "/": _quotient,
    "%": _remainder,
}
_OTHERS: Mapping[str, Callable[[Any, Any], Any]] = {"+": _sum, "-": _difference}
