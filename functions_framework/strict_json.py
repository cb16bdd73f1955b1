"""JSON read strictly: what the standard library lets through is refused, with the byte at which it stands; pure.

RFC 8259 knows no NaN, leaves doubled names open, and sets no depth: readers disagree on all three, so an event that
holds them would mean one thing to a filter and another to its handler.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

MAX_DEPTH = 128
"""Levels of nesting: every process that reads the event must be able to."""

_STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_NUMBER = r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_TOKEN = re.compile(rf"(?P<string>{_STRING})(?P<name>\s*:)?|(?P<number>{_NUMBER})|[\[\]{{}}]", re.DOTALL)
_BRACKET = re.compile(rf"{_STRING}|[\[\]{{}}]".encode(), re.DOTALL)
_STEP = {b"[": 1, b"{": 1, b"]": -1, b"}": -1}
_CONSTANT = re.compile(rf"{_STRING}|(NaN|-?Infinity)", re.DOTALL)


class BadJson(ValueError):
    """The bytes are no strict JSON; the message is one line and names the offset."""


def decode(body: bytes) -> Any:
    """The value in *body*; raises BadJson."""
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadJson(f"body is not UTF-8 at offset {error.start}") from None
    _check_depth(body)
    try:
        value = json.loads(text, object_pairs_hook=_pairs, parse_float=_number, parse_constant=_constant)
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        offset = len(text[: error.pos].encode())
        raise BadJson(f"body is not JSON: {error.msg} at offset {offset}") from None
    except (_Flaw, ValueError) as error:  # surrogates, and integers longer than the interpreter converts
        raise BadJson(_located(text, error)) from None
    return value


class _Flaw(Exception):
    """Something that the standard library allows; where it stands is looked for afterwards."""


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(items)
    if len(found) != len(items):
        raise _Flaw
    return found


def _number(text: str) -> float:
    value = float(text)
    if value in {float("inf"), float("-inf")}:
        raise _Flaw
    return value


def _constant(_text: str) -> NoReturn:
    raise _Flaw


def _check_depth(body: bytes) -> None:
    """Before anything recursive sees it, and without keeping anything of it."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for match in _BRACKET.finditer(body):
        depth += _STEP.get(match[0], 0)
        if depth > MAX_DEPTH:
            raise BadJson(f"JSON is nested deeper than {MAX_DEPTH} levels at offset {match.start()}")


def _located(text: str, error: Exception) -> str:
    """What is wrong in JSON that is well-formed but not strict, and at which byte: the first flaw in the text."""
    names: list[set[str]] = []
    constant = next((match.start(1) for match in _CONSTANT.finditer(text) if match[1]), len(text))
    for match in _TOKEN.finditer(text):
        if match.start() >= constant:
            break
        wrong = _flaw(match, names)
        if wrong:
            return f"{wrong} at offset {len(text[: match.start()].encode())}"
    if constant < len(text):
        said = re.match(r"-?\w+", text[constant:])
        return f"JSON has no {said[0] if said else ''} at offset {len(text[:constant].encode())}"
    return f"body is not JSON: {error}"


def _flaw(match: re.Match[str], names: list[set[str]]) -> str:
    """The flaw of one token; *names* are those of the objects that are open."""
    if match["number"]:
        digits = match["number"]
        if digits.lstrip("-").isdigit():
            return f"JSON number has {len(digits)} digits" if len(digits) > 4300 else ""
        return f"JSON number {digits[:20]} is out of range" if abs(float(digits)) == float("inf") else ""
    if match["string"] is None:
        if match[0] in "[{":
            names.append(set())
        elif names:
            names.pop()
        return ""
    value = json.loads(match["string"])
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "JSON holds a lone surrogate"
    if match["name"] and names:
        if value in names[-1]:
            return f"JSON has the name {value[:40]!r} twice"
        names[-1].add(value)
    return ""
