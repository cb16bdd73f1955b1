"""Tokens of a condition: numbers, texts, names and signs of CEL."""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from api.errors import InvalidInput, Problem
from triggers.arithmetic import LARGEST

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<number>0[xX][0-9a-fA-F]+[uU]? | \d*\.\d+(?:[eE][+-]?\d+)? | \d+[eE][+-]?\d+ | \d+[uU]?) |
    (?P<raw>[rR](?:(?P<fence>\"{3}|'{3})[\s\S]*?(?P=fence)|"[^"\n]*"|'[^'\n]*')) |
    (?P<string>\"{3}(?:[^"\\]|\\.|"(?!""))*\"{3} | '{3}(?:[^'\\]|\\.|'(?!''))*'{3}
        | "(?:[^"\\\n]|\\.)*" | '(?:[^'\\\n]|\\.)*') |
    (?P<name>[A-Za-z_]\w*) |
    (?P<sign>\|\||&&|==|!=|<=|>=|[!<>()\[\]{}.,:?+\-*/%])
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\([xX][0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|[0-3][0-7]{2}|.)")
_ESCAPES = {
    "n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v",
    "\\": "\\", "'": "'", '"': '"', "`": "`", "?": "?",
}  # fmt: skip


class Token(NamedTuple):
    kind: Literal["number", "string", "name", "sign", "end"]
    text: str
    value: object
    """Of a number or string."""


def refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])


def tokens(text: str) -> list[Token]:
    """Raises InvalidInput (E125)."""
    found, at, text = [], 0, text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            rest = text[at:].lstrip()
            raise refuse(f"unexpected `{rest[:1]}` at character {len(text) - len(rest) + 1}")
        found.append(_token(kind := str(match.lastgroup), match[kind]))
        at = match.end()
    return [*found, Token("end", "", None)]


def _token(kind: str, word: str) -> Token:
    if kind == "number":
        return Token("number", word, _number(word))
    if kind == "raw":
        return Token("string", word, _inside(word[1:]))
    if kind == "string":
        return Token("string", word, _ESCAPE.sub(_escaped, _inside(word)))
    return Token("name" if kind == "name" else "sign", word, None)


def _inside(word: str) -> str:
    """Without the quotes, three of which may stand on each side."""
    quotes = 3 if len(word) > 5 and word[:3] in {'"""', "'''"} else 1
    return word[quotes:-quotes]


def _number(word: str) -> int | float:
    digits = word.rstrip("uU")
    hexadecimal = digits[:2] in {"0x", "0X"}
    if not hexadecimal and set(digits) & set(".eE"):
        return float(digits)
    value = int(digits, 16) if hexadecimal else int(digits[:20])
    if value > LARGEST + 1:  # one more than the largest: its negative is the smallest
        raise refuse(f"`{word[:40]}` has more than 64 bits")
    return value


def _escaped(found: re.Match[str]) -> str:
    sign = found[1]
    if len(sign) > 1 and sign[0] in "xXuU":
        if int(sign[1:], 16) > 0x10FFFF or 0xD800 <= int(sign[1:], 16) < 0xE000:
            raise refuse(f"`\\{sign}` is no character")
        return chr(int(sign[1:], 16))
    if len(sign) == 3:
        return chr(int(sign, 8))
    if sign not in _ESCAPES:
        raise refuse(f"`\\{sign}` is no escape: write `\\\\{sign}`, or r'...' for text without escapes")
    return _ESCAPES[sign]
