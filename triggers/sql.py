"""CloudEvents SQL 1.0 (cloudevents/spec, cesql/spec.md), compiled to closures: a filter over attributes alone.

    logic   := rel (('AND' | 'OR' | 'XOR') rel)*        rel  := sum (('=' | '!=' | '<>' | '<' | ...) sum)*
    sum     := term (('+' | '-') term)*                 term := set (('*' | '/' | '%') set)*
    set     := test ('NOT'? 'IN' '(' logic, ... ')')*   test := unary ('NOT'? 'LIKE' string)*
    unary   := ('NOT' | '-') unary | atom
    atom    := literal | attribute | 'EXISTS' attribute | function '(' logic, ... ')' | '(' logic ')'

Keywords, function names and attributes are the same in any case. ``AND``, ``OR`` and ``XOR`` have one precedence, from
left to right, as the specification says: parentheses help readers. Where an error occurs (an absent attribute, a cast
that fails) the event does not match. Functions that do not exist are refused when the filter is applied.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import msgspec

from api.errors import InvalidInput
from triggers import sql_values
from triggers.sql_tokens import KEYWORDS, Token, refuse, tokens
from triggers.sql_values import FUNCTIONS, Fault, Function, Value

MAX_LENGTH = 4096
MAX_DEPTH = 64
MAX_OPERATORS = 400
"""Each is one call deeper when an event is tested."""

Member: TypeAlias = Callable[[str], Callable[[Any], Any]]
"""Name of an attribute -> its reader, which answers UNSET where there is none."""

_LEVELS = (
    {"AND", "OR", "XOR"},
    {"=", "!=", "<>", "<", "<=", ">", ">="},
    {"+", "-"},
    {"*", "/", "%"},
)
_ATTRIBUTE = re.compile(r"[a-z0-9]+", re.ASCII)
_FUNCTION = re.compile(r"[A-Z][A-Z_]*", re.ASCII)


def compile_sql(text: str, member: Member) -> Value:
    """Compile *text* to its value, which raises Fault; raises InvalidInput (E125, E126)."""
    if len(text) > MAX_LENGTH:
        raise refuse(f"the SQL is longer than {MAX_LENGTH} characters", "E126")
    parser = _Parser(tokens(text), member)
    value = parser.level(0)
    parser.expect_end()
    return value


def matches(text: str, member: Member) -> Callable[[Any], bool | None]:
    """*text* as a filter: None where an error occurs or the value is no boolean."""
    value = compile_sql(text, member)

    def told(record: Any) -> bool | None:
        try:
            found = value(record)
        except Fault:
            return None
        return found if found is True or found is False else None

    return told


class _Parser:
    """Recursive descent; each rule answers the closure of what it read."""

    def __init__(self, tokens: Sequence[Token], member: Member) -> None:
        self.tokens = tokens
        self.at = 0
        self.depth = 0
        self.operators = 0
        self.member = member

    def peek(self, ahead: int = 0) -> str:
        """The next keyword or sign; strings are neither."""
        token = self.tokens[min(self.at + ahead, len(self.tokens) - 1)]
        return "" if token.kind == "string" else token.text

    def next(self) -> Token:
        token = self.tokens[self.at]
        self.at = min(self.at + 1, len(self.tokens) - 1)
        return token

    def accept(self, text: str) -> bool:
        if self.peek() != text:
            return False
        self.at += 1
        return True

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.unexpected(f"`{text}`")

    def expect_end(self) -> None:
        if self.tokens[self.at].kind != "end":
            raise self.unexpected("an operator or the end")

    def unexpected(self, wanted: str) -> InvalidInput:
        token = self.tokens[self.at]
        there = "the end" if token.kind == "end" else f"`{token.text[:40]}`"
        return refuse(f"expected {wanted} instead of {there} at character {token.at}")

    def level(self, precedence: int) -> Value:
        """Binary operators of one precedence, from left to right."""
        if precedence == len(_LEVELS):
            return self.contained()
        left = self.level(precedence + 1)
        while self.peek() in _LEVELS[precedence]:
            sign = self.operator()
            left = sql_values.binary(sign, left, self.level(precedence + 1))
        return left

    def operator(self) -> str:
        self.operators += 1
        if self.operators > MAX_OPERATORS:
            raise refuse(f"the SQL has more than {MAX_OPERATORS} operators", "E126")
        return self.next().text

    def contained(self) -> Value:
        left = self.liked()
        while (negated := self.negated("IN")) is not None:
            self.expect("(")
            left = _among(left, self.arguments(least=1), negated=negated)
        return left

    def liked(self) -> Value:
        left = self.unary()
        while (negated := self.negated("LIKE")) is not None:
            if self.tokens[self.at].kind != "string":
                raise self.unexpected("a string")
            left = _like(left, _unquote(self.next().text), negated=negated)
        return left

    def negated(self, keyword: str) -> bool | None:
        """Whether *keyword* comes with NOT before it; None: it does not come."""
        negated = self.peek() == "NOT" and self.peek(1) == keyword
        if not negated and self.peek() != keyword:
            return None
        self.at += negated
        self.operator()
        return negated

    def unary(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise refuse(f"the SQL is nested deeper than {MAX_DEPTH}", "E126")
        value = self.signed()
        self.depth -= 1
        return value

    def signed(self) -> Value:
        if self.accept("NOT"):
            inner = self.unary()
            return lambda record: not sql_values.boolean(inner(record))
        if self.peek() in {"-", "+"} and self.peek(1).isdigit():
            return self.number(self.next().text)
        if self.accept("-"):
            inner = self.unary()
            return lambda record: sql_values.bounded(-sql_values.integer(inner(record)))
        if self.accept("("):
            inner = self.level(0)
            self.expect(")")
            return inner
        return self.atom()

    def atom(self) -> Value:
        token = self.tokens[self.at]
        if token.kind == "string":
            self.at += 1
            return _constant(_unquote(token.text))
        if token.kind != "word":
            raise self.unexpected("a value")
        if token.text.isdigit():
            return self.number("")
        if token.text in {"TRUE", "FALSE"}:
            self.at += 1
            return _constant(token.text == "TRUE")
        if self.accept("EXISTS"):
            get = self.member(self.attribute())
            return lambda record: not _absent(get(record))
        if self.peek(1) == "(" and token.text not in KEYWORDS:
            return self.call()
        return _read(self.member(self.attribute()))

    def number(self, sign: str) -> Value:
        token = self.next()
        value = int(sign + token.text)
        if not sql_values.SMALLEST <= value <= sql_values.LARGEST:
            raise refuse(f"`{sign}{token.text[:40]}` at character {token.at} is no integer of 32 bits")
        return _constant(value)

    def attribute(self) -> str:
        token = self.tokens[self.at]
        name = token.text.lower()
        if token.kind != "word" or token.text in KEYWORDS or not _ATTRIBUTE.fullmatch(name):
            raise self.unexpected("an attribute")
        if name == "data":
            raise refuse(f"SQL sees attributes, not `data` (character {token.at}): use `expression`")
        self.at += 1
        return name

    def call(self) -> Value:
        token = self.next()
        name = token.text.upper()
        self.expect("(")
        arguments = self.arguments()
        for function in FUNCTIONS.get(name, ()) if _FUNCTION.fullmatch(name) else ():
            fixed = len(function.first)
            if len(arguments) == fixed or (len(arguments) > fixed and function.more is not None):
                return _call(function, arguments)
        known = f"with {len(arguments)} arguments" if name in FUNCTIONS else f"; there are {', '.join(FUNCTIONS)}"
        raise refuse(f"there is no function `{name[:40]}` (character {token.at}) {known}".replace(" ;", ";"))

    def arguments(self, *, least: int = 0) -> list[Value]:
        """After ``(``, up to and with ``)``."""
        if least == 0 and self.accept(")"):
            return []
        found = [self.level(0)]
        while not self.accept(")"):
            self.expect(",")
            found.append(self.level(0))
        return found


def _unquote(text: str) -> str:
    """Only the delimiter is escaped; other backslashes mean themselves, and LIKE has its own."""
    return text[1:-1].replace("\\" + text[0], text[0])


def _constant(value: Any) -> Value:
    return lambda _record: value


def _absent(value: Any) -> bool:
    return value is msgspec.UNSET or value is None


def _read(get: Callable[[Any], Any]) -> Value:
    def read(record: Any) -> Any:
        found = get(record)
        if type(found) is str or type(found) is bool:
            return found
        if _absent(found):
            raise Fault("missingAttribute")
        if type(found) is int and sql_values.SMALLEST <= found <= sql_values.LARGEST:
            return found
        return str(found)

    return read


def _among(value: Value, items: Sequence[Value], *, negated: bool) -> Value:
    return lambda record: sql_values.among(value(record), [item(record) for item in items]) is not negated


def _like(value: Value, pattern: str, *, negated: bool) -> Value:
    test = sql_values.like(pattern)
    return lambda record: test(sql_values.string(value(record))) is not negated


def _call(function: Function, arguments: Sequence[Value]) -> Value:
    more = len(arguments) - len(function.first)
    casts = (*function.first, *((function.more,) * more if function.more else ()))
    pairs = tuple(zip(casts, arguments, strict=True))
    call = function.call
    return lambda record: call(*[cast(argument(record)) for cast, argument in pairs])
