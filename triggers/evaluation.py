"""Closures that a compiled condition is made of, with three answers: true, false, and UNSET where it cannot be told."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import msgspec

Truth: TypeAlias = bool | None
Value: TypeAlias = Callable[[Any], Any]
"""Closure over a decoded record; answers UNSET where it cannot be told."""

UNSET = msgspec.UNSET

_ORDER: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_ORDERED = (str, bool, datetime, timedelta)
KEYS = (str, int, float)
"""Types of a map's keys; 1.0 finds 1."""


def truth(value: Value) -> Callable[[Any], Truth]:
    """*value* as a truth: whatever is not a boolean cannot be told."""

    def told(record: Any) -> Truth:
        found = value(record)
        return found if found is True or found is False else None

    return told


def constant(value: Any) -> Value:
    return lambda _record: value


def walk(value: Value, steps: Sequence[str | int]) -> Value:
    """*value* and the members below it; the common depths without a loop."""
    if not steps:
        return value
    if len(steps) == 1 and isinstance(steps[0], str):
        only = steps[0]

        def member(record: Any) -> Any:
            found = value(record)
            return found.get(only, UNSET) if type(found) is dict else UNSET

        return member

    def deep(record: Any) -> Any:
        found = value(record)
        for step in steps:
            if isinstance(found, dict):
                found = found.get(step, UNSET)
            elif isinstance(found, list) and isinstance(step, int) and step < len(found):
                found = found[step]
            else:
                return UNSET
        return found

    return deep


def item(value: Value, at: Value) -> Value:
    """The member of a list or map that another value names."""

    def get(record: Any) -> Any:
        found, place = value(record), at(record)
        if isinstance(found, dict):
            return found.get(place, UNSET) if type(place) in KEYS else UNSET
        if isinstance(found, list) and type(place) is int and 0 <= place < len(found):
            return found[place]
        return UNSET

    return get


def fold(parts: Sequence[Value], *, decides: bool) -> Value:
    """``&&`` (False decides) and ``||`` (True decides) of *parts*: one that cannot be told leaves it to the others."""
    rest = not decides

    def told(record: Any) -> Any:
        found: Any = rest
        for part in parts:
            one = part(record)
            if one is decides:
                return decides
            if one is not rest:
                found = UNSET
        return found

    return told


def negation(value: Value) -> Value:
    def negate(record: Any) -> Any:
        found = value(record)
        return not found if found is True or found is False else UNSET

    return negate


def choice(condition: Value, one: Value, other: Value) -> Value:
    """``condition ? one : other``; only what is chosen is evaluated."""

    def choose(record: Any) -> Any:
        found = condition(record)
        if found is True:
            return one(record)
        return other(record) if found is False else UNSET

    return choose


def same(left: Any, right: Any) -> bool:
    """Equality as in CEL: numbers by value, and a boolean is never a number, in lists and maps neither."""
    if isinstance(left, bool) != isinstance(right, bool):
        return False
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def equality(left: Value, right: Value, *, equal: bool) -> Value:
    def compare(record: Any) -> Any:
        one, other = left(record), right(record)
        return UNSET if one is UNSET or other is UNSET else same(one, other) is equal

    return compare


def order(left: Value, right: Value, sign: str) -> Value:
    test = _ORDER[sign]

    def compare(record: Any) -> Any:
        one, other = left(record), right(record)
        if type(one) in {int, float} and type(other) in {int, float}:
            return test(one, other)
        return test(one, other) if type(one) is type(other) and isinstance(one, _ORDERED) else UNSET

    return compare


def membership(left: Value, right: Value) -> Value:
    def contained(record: Any) -> Any:
        one, many = left(record), right(record)
        if one is UNSET or not isinstance(many, list | dict):
            return UNSET
        if isinstance(many, dict):
            return type(one) in KEYS and one in many
        return any(other is not UNSET and same(one, other) for other in many)

    return contained
