"""Conditions over an event's attributes and data, compiled to closures: the language CEL, with its meaning.

``event.type == "reading" && event.data.battery < 20``. The prefix ``event.`` may be left out for the attributes of the
specification and for ``data``.

    choice  := either ('?' either ':' choice)?              either  := both ('||' both)*
    both    := rel ('&&' rel)*                              rel     := sum (('==' | '!=' | '<' | ... | 'in') sum)*
    sum     := term (('+' | '-') term)*                     term    := unary (('*' | '/' | '%') unary)*
    unary   := '!' unary | '-' unary | member               member  := primary ('.' name | '.' call | '[' choice ']')*
    primary := number | text | true | false | null | list | map | '(' choice ')' | name | call

A part that cannot be told (an absent member, ``"a" < 1``) is neither true nor false, as in CEL: ``false && it`` is
false, ``true || it`` is true, and where it decides the event does not match. Numbers of JSON are integers where they
are written so. Regular expressions are RE2's and stand as text. Types, bytes and protocol buffers are not offered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from triggers import arithmetic, functions
from triggers.cursor import Cursor
from triggers.evaluation import (
    KEYS,
    UNSET,
    Truth,
    Value,
    choice,
    constant,
    equality,
    fold,
    item,
    membership,
    negation,
    order,
    truth,
    walk,
)
from triggers.macros import MACROS, Budget, Variable, macro
from triggers.tokens import refuse, tokens

MAX_LENGTH = 4096
ATTRIBUTES = ("id", "source", "type", "specversion", "subject", "time", "datacontenttype", "dataschema", "partitionkey")

Member: TypeAlias = Callable[[str], Value]
"""Name of a top-level member -> its reader."""

_CONSTANTS = {"true": True, "false": False, "null": None}
_RESERVED = {*_CONSTANTS, "in"}
_RELATIONS = {"==", "!=", "<", "<=", ">", ">=", "in"}
_ARITHMETIC = ({"+", "-"}, {"*", "/", "%"})


def compile_expression(text: str, member: Member) -> Callable[[Any], Truth]:
    """Compile *text*; *member* gives the reader of a top-level member. Raises InvalidInput (E125, E126)."""
    if len(text) > MAX_LENGTH:
        raise refuse(f"the condition is longer than {MAX_LENGTH} characters", "E126")
    parser = _Parser(text, member)
    told = truth(parser.choice())
    parser.end()
    return parser.budget.around(told) if parser.budget is not None else told


class _Parser(Cursor):
    """Recursive descent; each rule answers the closure of what it read."""

    def __init__(self, text: str, member: Member) -> None:
        super().__init__(tokens(text))
        self.member = member
        self.variables: dict[str, Variable] = {}
        self.budget: Budget | None = None

    def choice(self) -> Value:
        condition = self.either()
        if not self.operator("?"):
            return condition
        one = self.either()
        self.expect(":")
        self.deeper()
        other = self.choice()
        self.depth -= 1
        return choice(condition, one, other)

    def either(self) -> Value:
        parts = [self.both()]
        while self.operator("||"):
            parts.append(self.both())
        return fold(parts, decides=True) if len(parts) > 1 else parts[0]

    def both(self) -> Value:
        parts = [self.relation()]
        while self.operator("&&"):
            parts.append(self.relation())
        return fold(parts, decides=False) if len(parts) > 1 else parts[0]

    def relation(self) -> Value:
        left = self.computed(0)
        while sign := self.operator(*_RELATIONS):
            right = self.computed(0)
            if sign in {"==", "!="}:
                left = equality(left, right, equal=sign == "==")
            else:
                left = membership(left, right) if sign == "in" else order(left, right, sign)
        return left

    def computed(self, level: int) -> Value:
        if level == len(_ARITHMETIC):
            return self.unary()
        left = self.computed(level + 1)
        while sign := self.operator(*_ARITHMETIC[level]):
            left = arithmetic.operation(sign, left, self.computed(level + 1))
        return left

    def unary(self) -> Value:
        self.deeper()
        if self.operator("!"):
            value = negation(self.unary())
        elif self.operator("-"):
            value = self.negative()
        else:
            value = self.followed(self.primary())
        self.depth -= 1
        return value

    def negative(self) -> Value:
        """After ``-``; the smallest integer is written as one."""
        value = self.peek().value
        if isinstance(value, int | float):
            self.at += 1
            return constant(-value)
        return arithmetic.negative(self.unary())

    def primary(self) -> Value:
        token = self.peek()
        if token.kind in {"number", "string"} or token.text in _CONSTANTS:
            return constant(self.literal())
        if self.accept("("):
            inner = self.choice()
            self.expect(")")
            return inner
        if self.accept("["):
            return self.listing()
        if self.accept("{"):
            return self.mapping()
        if token.kind != "name" or token.text in _RESERVED:
            raise refuse(f"expected a value {self.place()}")
        return self.call() if self.peek(1).text == "(" else self.root()

    def literal(self) -> Any:
        token = self.next()
        if token.kind == "number" and arithmetic.bounded(token.value) is UNSET:
            raise refuse(f"`{token.text[:40]}` has more than 64 bits")
        return _CONSTANTS[token.text] if token.kind == "name" else token.value

    def listing(self) -> Value:
        items = self.sequence("]")
        return lambda record: UNSET if UNSET in (found := [one(record) for one in items]) else found

    def sequence(self, close: str) -> list[Value]:
        """Values up to and with *close*; a comma may stand after the last."""
        items: list[Value] = []
        while not self.accept(close):
            if items:
                self.expect(",")
                if self.accept(close):
                    break
            items.append(self.choice())
        return items

    def mapping(self) -> Value:
        items: list[tuple[Value, Value]] = []
        while not self.accept("}"):
            if items:
                self.expect(",")
                if self.accept("}"):
                    break
            key = self.choice()
            self.expect(":")
            items.append((key, self.choice()))

        def build(record: Any) -> Any:
            found = {key(record): value(record) for key, value in items}
            sound = len(found) == len(items) and all(type(one) in KEYS for one in found)
            return found if sound and UNSET not in found.values() else UNSET

        return build

    def root(self) -> Value:
        """What a path begins with: a variable of a macro, an attribute, ``data``."""
        name = self.next().text
        if name in self.variables:
            return self.variables[name].read
        if name == "event":
            name = self.attribute()
        elif name != "data" and name not in ATTRIBUTES:
            raise refuse(f"unknown name `{name[:40]}`: did you mean event.{name[:40]} or data.{name[:40]}?")
        return self.member(name)

    def attribute(self) -> str:
        """After ``event``: ``.type``, or ``["type"]`` with a name that stands as text."""
        token = self.peek(1)
        if not (self.sees("[") and isinstance(token.value, str) and self.peek(2).text == "]"):
            self.expect(".")
            return self.name()
        self.at += 3
        return token.value

    def name(self) -> str:
        if self.peek().kind != "name":
            raise refuse(f"expected a name {self.place()}")
        return self.next().text

    def followed(self, value: Value) -> Value:
        """*value* with the members, places and calls behind it; steps of a path are walked in one go."""
        steps: list[str | int] = []
        while sign := self.sees(".", "["):
            self.at += 1
            if sign == "[":
                steps, value = self.placed(steps, value)
            elif self.peek(1).text == "(":
                value, steps = self.method(walk(value, steps)), []
            else:
                steps.append(self.name())
        return walk(value, steps)

    def placed(self, steps: list[str | int], value: Value) -> tuple[list[str | int], Value]:
        """After ``[``."""
        token = self.peek()
        if self.peek(1).text == "]" and isinstance(token.value, str | int):
            self.at += 2
            return [*steps, token.value], value
        at = self.choice()
        self.expect("]")
        return [], item(walk(value, steps), at)

    def call(self) -> Value:
        """A function that stands before its arguments."""
        name = self.next().text
        self.expect("(")
        if name == "has":
            return self.has()
        if name == "matches":
            value = self.choice()
            self.expect(",")
            return self.pattern(value)
        arguments = self.sequence(")")
        found = functions.call(name, arguments) if name not in functions.METHODS - functions.EVERYWHERE else None
        if found is None:
            raise self.unoffered(name, len(arguments))
        return found

    def has(self) -> Value:
        if self.peek().kind != "name":
            raise refuse(f"has() takes a path such as has(data.battery), expected {self.place()}")
        inner = self.followed(self.root())
        self.expect(")")
        return lambda record: inner(record) is not UNSET

    def method(self, subject: Value) -> Value:
        """A function that stands behind its first argument, or a macro."""
        name = self.name()
        self.expect("(")
        if name in MACROS:
            return self.macro(name, subject)
        if name == "matches":
            return self.pattern(subject)
        arguments = self.sequence(")")
        found = functions.call(name, [subject, *arguments]) if name in functions.METHODS else None
        if found is None:
            raise self.unoffered(name, len(arguments))
        return found

    def unoffered(self, name: str, count: int) -> Exception:
        if name in functions.FUNCTIONS:
            return refuse(f"`{name}` is not offered with {count} arguments here")
        return refuse(f"`{name[:40]}` is not offered: functions are {functions.NAMES}")

    def pattern(self, subject: Value) -> Value:
        """The last argument of matches()."""
        token = self.next()
        if not isinstance(token.value, str):
            raise refuse("matches() takes a regular expression that stands as text, such as r'^v-[0-9]+$'")
        self.expect(")")
        return functions.matches(subject, token.value)

    def macro(self, name: str, items: Value) -> Value:
        self.budget = self.budget or Budget()
        variable, said = Variable(), self.name()
        self.expect(",")
        before = self.variables
        self.variables = {**before, said: variable}
        arguments = self.sequence(")")
        self.variables = before
        test, made = _parts(name, arguments)
        return macro(name, items, variable, test, made, self.budget)


def _parts(name: str, arguments: Sequence[Value]) -> tuple[Value, Value | None]:
    """What a macro tests, and what ``map`` makes."""
    if name == "map" and len(arguments) == 2:
        return arguments[0], arguments[1]
    if len(arguments) != 1:
        raise refuse(f"{name}() takes a variable and what is said of it, such as {name}(tag, tag == 'low')")
    return (constant(True), arguments[0]) if name == "map" else (arguments[0], None)
