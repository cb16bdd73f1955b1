"""Values of CloudEvents SQL: casts, operators, LIKE and the built-in functions (CESQL 1.0, sections 3.1 to 3.7).

A value is a bool, a 32 bit int or a str. What fails raises Fault at once, the specification's fail fast mode: where an
error occurs a filter does not match, whatever the value beside it would be.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

Kind = Literal["missingAttribute", "cast", "math", "functionEvaluation"]

SMALLEST, LARGEST = -(1 << 31), (1 << 31) - 1

_INTEGER = re.compile(r"[+-]?\d{1,32}", re.ASCII)


class Fault(Exception):
    """An error of the specification, by its kind."""

    def __init__(self, kind: Kind) -> None:
        super().__init__(kind)
        self.kind = kind


def integer(value: Any) -> int:
    if type(value) is int:
        return value
    if type(value) is bool:
        return int(value)
    if not _INTEGER.fullmatch(value) or not SMALLEST <= int(value) <= LARGEST:
        raise Fault("cast")
    return int(value)


def boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is int:
        return value != 0
    lower = value.lower()
    if lower not in {"true", "false"}:
        raise Fault("cast")
    return bool(lower == "true")


def string(value: Any) -> str:
    if type(value) is str:
        return value
    return str(value).lower() if type(value) is bool else str(value)


CASTS: Mapping[type, Callable[[Any], Any]] = {int: integer, bool: boolean, str: string}


def same(left: Any, right: Any) -> bool:
    """``=``: the left operand is cast to the type of the right one."""
    if type(left) is type(right):
        return bool(left == right)
    return bool(CASTS[type(right)](left) == right)


def among(value: Any, items: Sequence[Any]) -> bool:
    """``IN``: the items are cast to the type of the value, all of them."""
    cast = CASTS[type(value)]
    return value in [cast(item) for item in items]


def bounded(value: int) -> int:
    if not SMALLEST <= value <= LARGEST:
        raise Fault("math")
    return value


def quotient(left: int, right: int) -> int:
    """Rounded towards 0."""
    if right == 0:
        raise Fault("math")
    found = abs(left) // abs(right)
    return bounded(found if (left < 0) == (right < 0) else -found)


def remainder(left: int, right: int) -> int:
    """With the sign of *left*."""
    if right == 0:
        raise Fault("math")
    found = abs(left) % abs(right)
    return -found if left < 0 else found


def like(pattern: str) -> Callable[[str], bool]:
    """``%`` is any text, ``_`` one character, a backslash takes their meaning away; in time linear in the text.

    Between two ``%`` stands text of fixed length, so the first place where it fits is as good as any other.
    """
    pieces: list[list[str]] = [[]]
    at = 0
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\" and pattern[at + 1 : at + 2] in {"%", "_"}:
            at += 1
            pieces[-1].append(re.escape(pattern[at]))
        elif sign == "%":
            pieces.append([])
        else:
            pieces[-1].append("." if sign == "_" else re.escape(sign))
        at += 1
    first, *others = [re.compile("".join(piece), re.DOTALL) for piece in pieces]
    if not others:
        return lambda text: first.fullmatch(text) is not None
    *middle, last = others
    tail = len(pieces[-1])

    def matches(text: str) -> bool:
        found = first.match(text)
        for piece in middle:
            found = piece.search(text, found.end()) if found else None
        return found is not None and len(text) - tail >= found.end() and last.match(text, len(text) - tail) is not None

    return matches


class Function(NamedTuple):
    """A built-in function: casts of its first arguments, and of any further ones (None: there are none)."""

    call: Callable[..., Any]
    first: tuple[Callable[[Any], Any], ...]
    more: Callable[[Any], Any] | None = None


def _same_value(value: Any) -> Any:
    return value


def _left(text: str, count: int) -> str:
    if count < 0:
        raise Fault("functionEvaluation")
    return text[:count]


def _right(text: str, count: int) -> str:
    if count < 0:
        raise Fault("functionEvaluation")
    return text[max(len(text) - count, 0) :]


def _substring(text: str, start: int, length: int = LARGEST) -> str:
    """From *start* on, counted from 1, or from the end where it is negative; 0 is nowhere."""
    if abs(start) > len(text) or length < 0:
        raise Fault("functionEvaluation")
    if start == 0:
        return ""
    at = start - 1 if start > 0 else len(text) + start
    return text[at : at + length]


FUNCTIONS: Mapping[str, Sequence[Function]] = {
    "ABS": (Function(lambda value: bounded(abs(value)), (integer,)),),
    "BOOL": (Function(boolean, (_same_value,)),),
    "CONCAT": (Function(lambda *texts: "".join(texts), (), string),),
    "CONCAT_WS": (Function(lambda between, *texts: between.join(texts), (string,), string),),
    "INT": (Function(integer, (_same_value,)),),
    "LEFT": (Function(_left, (string, integer)),),
    "LENGTH": (Function(len, (string,)),),
    "LOWER": (Function(str.lower, (string,)),),
    "RIGHT": (Function(_right, (string, integer)),),
    "STRING": (Function(string, (_same_value,)),),
    "SUBSTRING": (Function(_substring, (string, integer)), Function(_substring, (string, integer, integer))),
    "TRIM": (Function(str.strip, (string,)),),
    "UPPER": (Function(str.upper, (string,)),),
}

Value: TypeAlias = Callable[[Any], Any]
"""Closure over a decoded record; raises Fault."""

_INTEGERS: Mapping[str, Callable[[int, int], Any]] = {
    "*": lambda left, right: bounded(left * right),
    "/": quotient,
    "%": remainder,
    "+": lambda left, right: bounded(left + right),
    "-": lambda left, right: bounded(left - right),
    "<": lambda left, right: left < right,
    "<=": lambda left, right: left <= right,
    ">": lambda left, right: left > right,
    ">=": lambda left, right: left >= right,
}


def binary(sign: str, left: Value, right: Value) -> Value:
    """The closure of a binary operation; AND and OR ask the right operand only where it decides."""
    match sign:
        case "=":
            return lambda record: same(left(record), right(record))
        case "!=" | "<>":
            return lambda record: not same(left(record), right(record))
        case "AND":
            return lambda record: boolean(left(record)) and boolean(right(record))
        case "OR":
            return lambda record: boolean(left(record)) or boolean(right(record))
        case "XOR":
            return lambda record: boolean(left(record)) is not boolean(right(record))
    compute = _INTEGERS[sign]

    def operate(record: Any) -> Any:
        one, other = left(record), right(record)  # both are there before either is cast
        return compute(integer(one), integer(other))

    return operate
