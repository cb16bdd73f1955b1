"""Conditions over an event's attributes and data, compiled to closures.

A small part of CEL, with its meaning: ``event.type == "reading" && event.data.battery < 20``. The prefix ``event.``
may be left out for the attributes of the specification and for ``data``.

    or     := and ('||' and)*            and   := not ('&&' not)*         not := '!' not | rel
    rel    := value (('==' | '!=' | '<' | '<=' | '>' | '>=' | 'in') value)?
    value  := number | string | true | false | null | '[' value, ... ']' | '(' or ')' | path | call
    path   := name ('.' name | '[' (string | integer) ']')*
    call   := has(path) | size(value) | path.startsWith(value) | path.endsWith(value) | path.contains(value)

A part that cannot be told (an absent member, ``"a" < 1``) is neither true nor false, as in CEL: ``false && it`` is
false, ``true || it`` is true, and where it decides the event does not match. Regular expressions, arithmetic and
macros are refused.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Any, TypeAlias

from api.errors import InvalidInput, Problem
from triggers.evaluation import (
    UNSET,
    Truth,
    Value,
    conjunction,
    constant,
    disjunction,
    equality,
    membership,
    negation,
    order,
    truth,
    walk,
)

MAX_LENGTH = 4096
MAX_DEPTH = 64
ATTRIBUTES = ("id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "partitionkey")

Member: TypeAlias = Callable[[str], Value]
"""Name of a top-level member -> its reader."""

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?) |
    (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*') |
    (?P<name>[A-Za-z_]\w*) |
    (?P<sign>\|\||&&|==|!=|<=|>=|[!<>()\[\].,])
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(.)")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_TEXT: dict[str, Callable[[str, str], bool]] = {
    "startsWith": str.startswith,
    "endsWith": str.endswith,
    "contains": operator.contains,
}
_CONSTANTS = {"true": True, "false": False, "null": None}
_RESERVED = {*_CONSTANTS, "in"}


def compile_expression(text: str, member: Member) -> Callable[[Any], Truth]:
    """Compile *text*; *member* gives the reader of a top-level member. Raises InvalidInput (E125, E126)."""
    if len(text) > MAX_LENGTH:
        raise _refuse(f"the condition is longer than {MAX_LENGTH} characters", "E126")
    parser = _Parser(text, member)
    value = parser.either()
    parser.end()
    return truth(value)


def _refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])


class _Parser:
    """Recursive descent; each rule answers the closure of what it read."""

    def __init__(self, text: str, member: Member) -> None:
        self.tokens = _tokens(text)
        self.at = 0
        self.depth = 0
        self.member = member

    def peek(self) -> str:
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else "end"

    def next(self) -> str:
        word = self.peek()
        self.at += 1
        return word

    def accept(self, sign: str) -> bool:
        if self.kind() != "string" and self.peek() == sign:
            self.at += 1
            return True
        return False

    def expect(self, sign: str) -> None:
        if not self.accept(sign):
            raise _refuse(f"expected `{sign}` {self.place()}")

    def place(self) -> str:
        return f"before `{self.peek()}`" if self.at < len(self.tokens) else "at the end of the condition"

    def end(self) -> None:
        if self.at < len(self.tokens):
            raise _refuse(f"expected an operator or the end {self.place()}")

    def either(self) -> Value:
        parts = [self.both()]
        while self.accept("||"):
            parts.append(self.both())
        return disjunction(parts) if len(parts) > 1 else parts[0]

    def both(self) -> Value:
        parts = [self.negation()]
        while self.accept("&&"):
            parts.append(self.negation())
        return conjunction(parts) if len(parts) > 1 else parts[0]

    def negation(self) -> Value:
        negated = False
        found = False
        while self.accept("!"):
            negated, found = not negated, True
        value = self.relation()
        return negation(value, negated=negated) if found else value

    def relation(self) -> Value:
        left = self.value()
        sign = self.peek() if self.kind() != "string" else ""
        if sign in {"==", "!="}:
            self.at += 1
            return equality(left, self.value(), equal=sign == "==")
        if sign in _ORDER:
            self.at += 1
            return order(left, self.value(), _ORDER[sign])
        if sign == "in":
            self.at += 1
            return membership(left, self.value())
        return left

    def value(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _refuse(f"the condition is nested deeper than {MAX_DEPTH}", "E126")
        value = self.operand()
        self.depth -= 1
        return value

    def operand(self) -> Value:
        kind, word = self.kind(), self.next()
        if kind == "number":
            return constant(float(word) if set(word) & set(".eE") else int(word))
        if kind == "string":
            return constant(_unquote(word))
        if word in _CONSTANTS:
            return constant(_CONSTANTS[word])
        if kind == "sign" and word == "(":
            inner = self.either()
            self.expect(")")
            return inner
        if kind == "sign" and word == "[":
            return self.listing()
        if kind == "name" and word not in _RESERVED:
            return self.named(word)
        self.at -= 1
        raise _refuse(f"expected a value {self.place()}")

    def listing(self) -> Value:
        items: list[Value] = []
        while not self.accept("]"):
            if items:
                self.expect(",")
            items.append(self.value())
        return lambda record: [item(record) for item in items]

    def named(self, name: str) -> Value:
        if name == "has" and self.accept("("):
            inner = self.path(self.name())
            self.expect(")")
            return lambda record: inner(record) is not UNSET
        if name == "size" and self.accept("("):
            sized = self.value()
            self.expect(")")
            return lambda record: len(found) if isinstance(found := sized(record), str | list | dict) else UNSET
        return self.path(name)

    def name(self) -> str:
        if self.kind() != "name":
            raise _refuse(f"expected a name {self.place()}")
        return self.next()

    def path(self, name: str) -> Value:
        if name == "event":
            self.expect(".")
            name = self.name()
        elif name != "data" and name not in ATTRIBUTES:
            hint = (
                "functions are has, size, startsWith, endsWith, contains"
                if self.peek() == "("
                else f"did you mean event.{name} or data.{name}?"
            )
            raise _refuse(f"unknown name `{name}`: {hint}")
        value, steps = self.member(name), list[str | int]()
        while True:
            if self.accept("."):
                step = self.name()
                if self.accept("("):
                    return self.method(walk(value, steps), step)
                steps.append(step)
            elif self.accept("["):
                steps.append(self.index())
                self.expect("]")
            else:
                return walk(value, steps)

    def index(self) -> str | int:
        kind, word = self.kind(), self.next()
        if kind == "string":
            return _unquote(word)
        if kind == "number" and word.isdigit():
            return int(word)
        self.at -= 1
        raise _refuse(f"expected a string or a position {self.place()}")

    def method(self, subject: Value, name: str) -> Value:
        test = _TEXT.get(name)
        if test is None:
            raise _refuse(f"`{name}` is not offered: functions are has, size, startsWith, endsWith, contains")
        argument = self.value()
        self.expect(")")

        def call(record: Any) -> Any:
            left, right = subject(record), argument(record)
            return test(left, right) if isinstance(left, str) and isinstance(right, str) else UNSET

        return call


def _tokens(text: str) -> list[tuple[str, str]]:
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _refuse(f"unexpected `{text[at:].strip()[:1]}` at character {at + 1}; arithmetic is not offered")
        tokens.append((str(match.lastgroup), match[match.lastgroup or 0]))
        at = match.end()
    return tokens


def _unquote(word: str) -> str:
    return _ESCAPE.sub(lambda found: _ESCAPES.get(found[1], found[1]), word[1:-1])
