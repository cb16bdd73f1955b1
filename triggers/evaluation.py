"""Closures that a compiled condition is made of, with three answers: true, false, and UNSET where it cannot be told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

Truth: TypeAlias = bool | None
Value: TypeAlias = Callable[[Any], Any]
"""Closure over a decoded record; answers UNSET where it cannot be told."""

UNSET = msgspec.UNSET


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


def conjunction(parts: Sequence[Value]) -> Value:
    def every(record: Any) -> Any:
        told: Any = True
        for part in parts:
            found = part(record)
            if found is False:
                return False
            if found is not True:
                told = UNSET
        return told

    return every


def disjunction(parts: Sequence[Value]) -> Value:
    def some(record: Any) -> Any:
        told: Any = False
        for part in parts:
            found = part(record)
            if found is True:
                return True
            if found is not False:
                told = UNSET
        return told

    return some


def negation(value: Value, *, negated: bool) -> Value:
    def negate(record: Any) -> Any:
        found = value(record)
        return found is not negated if found is True or found is False else UNSET

    return negate


def same(left: Any, right: Any) -> bool:
    """Equality as in CEL: numbers by value, and a boolean is never a number."""
    return isinstance(left, bool) == isinstance(right, bool) and bool(left == right)


def equality(left: Value, right: Value, *, equal: bool) -> Value:
    def compare(record: Any) -> Any:
        one, other = left(record), right(record)
        return UNSET if one is UNSET or other is UNSET else same(one, other) is equal

    return compare


def order(left: Value, right: Value, test: Callable[[Any, Any], bool]) -> Value:
    def compare(record: Any) -> Any:
        one, other = left(record), right(record)
        if type(one) in {int, float} and type(other) in {int, float}:
            return test(one, other)
        return test(one, other) if isinstance(one, str) and isinstance(other, str) else UNSET

    return compare


def membership(left: Value, right: Value) -> Value:
    def contained(record: Any) -> Any:
        one, many = left(record), right(record)
        if one is UNSET or not isinstance(many, list | dict):
            return UNSET
        if isinstance(many, dict):
            return isinstance(one, str) and one in many
        return any(item is not UNSET and same(one, item) for item in many)

    return contained
