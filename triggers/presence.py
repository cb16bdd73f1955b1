"""Conditions over which inputs are there: ``a && (b || !c)``, compiled to a closure over the names that are.

or  := and ('||' and)*      and := not ('&&' not)*      not := '!' not | '(' or ')' | name
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Collection, Sequence
from functools import lru_cache
from typing import TypeAlias

from api.errors import InvalidInput, Problem

MAX_NAMES = 12
"""Inputs of one condition: every combination of them is tried when it is applied."""
MAX_DEPTH = 64

Held: TypeAlias = Callable[[Collection[str]], bool]

_TOKEN = re.compile(r"\s*(\|\||&&|[!()]|[A-Za-z_][A-Za-z0-9_-]*)", re.ASCII)


@lru_cache(maxsize=1024)
def compile_presence(text: str) -> Held:
    """Compile *text*; raises InvalidInput (E125, E126)."""
    tokens, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise _refuse(f"unexpected `{text[at:].strip()[:1]}` at character {at + 1}")
        tokens.append(match[1])
        at = match.end()
    parser = _Parser(tokens)
    held = parser.either(0)
    if parser.tokens:
        raise _refuse(f"expected an operator before `{parser.tokens[-1]}`")
    return held


def satisfiable(held: Held, names: Sequence[str]) -> bool:
    """Whether *held* is true for some of *names*, at least one of them there."""
    return any(
        held(frozenset(there)) for count in range(1, len(names) + 1) for there in itertools.combinations(names, count)
    )


class _Parser:
    def __init__(self, tokens: Sequence[str]) -> None:
        self.tokens = list(reversed(tokens))

    def accept(self, sign: str) -> bool:
        if self.tokens and self.tokens[-1] == sign:
            self.tokens.pop()
            return True
        return False

    def either(self, depth: int) -> Held:
        parts = [self.both(depth)]
        while self.accept("||"):
            parts.append(self.both(depth))
        return parts[0] if len(parts) == 1 else lambda there: any(part(there) for part in parts)

    def both(self, depth: int) -> Held:
        parts = [self.one(depth)]
        while self.accept("&&"):
            parts.append(self.one(depth))
        return parts[0] if len(parts) == 1 else lambda there: all(part(there) for part in parts)

    def one(self, depth: int) -> Held:
        if depth > MAX_DEPTH:
            raise _refuse(f"the condition is nested deeper than {MAX_DEPTH}", "E126")
        if self.accept("!"):
            inner = self.one(depth + 1)
            return lambda there: not inner(there)
        if self.accept("("):
            inner = self.either(depth + 1)
            if not self.accept(")"):
                raise _refuse("expected `)`")
            return inner
        if not self.tokens or self.tokens[-1] in {"||", "&&", ")"}:
            raise _refuse("expected the name of an input")
        name = self.tokens.pop()
        return lambda there: name in there


def _refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])
