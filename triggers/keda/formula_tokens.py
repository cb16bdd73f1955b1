"""Tokens of a scalingModifiers formula (expr-lang)."""

from __future__ import annotations

import re
from typing import NamedTuple

MOST = 2000
"""Characters of a formula."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d+)?)
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>\*\*|\?\?|\|\||&&|==|!=|<=|>=|\.\.|[-+*/%^<>!?:(),\[\]{}#])""",
    re.VERBOSE | re.ASCII,
)


class BadFormula(ValueError):
    """The formula does not hold; the message names the place."""


class Token(NamedTuple):
    kind: str
    """``number``, ``name``, ``sign`` or ``end``."""
    text: str
    at: int


def tokens(text: str) -> list[Token]:
    """All of *text*, an ``end`` last; raises BadFormula."""
    if len(text) > MOST:
        raise BadFormula(f"a formula has at most {MOST} characters")
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise BadFormula(f"`{text[at]}` at character {at + 1} means nothing here")
        kind = str(match.lastgroup)
        if kind != "space":
            found.append(Token(kind, match.group(), at))
        at = match.end()
    return [*found, Token("end", "", len(text))]
