"""Tokens of CloudEvents SQL, each with its place."""

from __future__ import annotations

import re
from typing import NamedTuple

from api.errors import InvalidInput, Problem

KEYWORDS = {"AND", "OR", "XOR", "NOT", "LIKE", "EXISTS", "IN", "TRUE", "FALSE"}
_TOKEN = re.compile(
    r"""[ \t\r\n]*(?:
    (?P<string>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*') |
    (?P<word>[A-Za-z0-9_]+) |
    (?P<sign><>|!=|<=|>=|[=<>+\-*/%(),])
    )""",
    re.VERBOSE | re.ASCII | re.DOTALL,
)


class Token(NamedTuple):
    kind: str
    """``string``, ``word``, ``sign`` or ``end``."""
    text: str
    """Keywords in upper case."""
    at: int
    """Character, from 1."""


def refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])


def tokens(text: str) -> list[Token]:
    """Raises InvalidInput (E125)."""
    found: list[Token] = []
    at, end = 0, len(text.rstrip(" \t\r\n"))
    while at < end:
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip(" \t\r\n")
            raise refuse(f"unexpected `{rest[:1]}` at character {len(text) - len(rest) + 1}")
        kind = str(match.lastgroup)
        word = match[kind]
        keyword = kind == "word" and word.upper() in KEYWORDS
        found.append(Token(kind, word.upper() if keyword else word, match.start(kind) + 1))
        at = match.end()
    return [*found, Token("end", "", end + 1)]
