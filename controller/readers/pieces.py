"""A condition cut into pieces, and the questions that splitting it over inputs asks of them; nothing is parsed here."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import TypeAlias

Pieces: TypeAlias = Sequence[str]

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\|\||&&|[A-Za-z_][\w-]*|\s+|.', re.ASCII | re.DOTALL)


def cut(text: str) -> Pieces:
    """Texts, operators, words (input names have dashes), blanks and single characters; joined they are *text*."""
    return _PIECE.findall(text)


def bare(pieces: Pieces) -> Pieces:
    """Without blanks at the ends and parentheses around the whole."""
    while True:
        while pieces and pieces[0].isspace():
            pieces = pieces[1:]
        while pieces and pieces[-1].isspace():
            pieces = pieces[:-1]
        if not (len(pieces) > 1 and pieces[0] == "(" and _closing(pieces) == len(pieces) - 1):
            return pieces
        pieces = pieces[1:-1]


def split(pieces: Pieces, sign: str) -> list[Pieces]:
    """Parts between *sign* outside of parentheses and brackets."""
    parts, depth, start = [], 0, 0
    for at, piece in enumerate(pieces):
        depth += (piece in {"(", "[", "{"}) - (piece in {")", "]", "}"})
        if piece == sign and depth == 0:
            parts.append(pieces[start:at])
            start = at + 1
    return [*parts, pieces[start:]]


def terms(pieces: Pieces, sign: str) -> list[Pieces]:
    """Parts between *sign*; one where a choice (``x ? y : z``) stands, which binds less than any sign."""
    return [pieces] if len(split(pieces, "?")) > 1 else split(pieces, sign)


def loose(text: str) -> bool:
    """Whether *text* needs parentheses before it stands beside ``&&``."""
    return any(len(split(cut(text), sign)) > 1 for sign in ("||", "?"))


def named(pieces: Pieces, inputs: Collection[str]) -> list[str]:
    """Inputs in order of appearance."""
    return list(dict.fromkeys(piece for at, piece in enumerate(pieces) if is_input(pieces, at, inputs)))


def is_input(pieces: Pieces, at: int, inputs: Collection[str]) -> bool:
    """Whether the word at *at* is an input, rather than a member of a path or a function."""
    member = at > 0 and pieces[at - 1] == "."
    function = at + 1 < len(pieces) and pieces[at + 1] == "("
    return pieces[at] in inputs and not member and not function


def whole(pieces: Pieces, inputs: Collection[str]) -> bool:
    """Whether an input stands for its arrival, not at the beginning of a path."""
    ends = (*pieces[1:], "")
    return any(is_input(pieces, at, inputs) and ends[at] not in {".", "["} for at in range(len(pieces)))


def _closing(pieces: Pieces) -> int:
    """Where the parenthesis that opens *pieces* closes; -1: nowhere."""
    depth = 0
    for at, piece in enumerate(pieces):
        depth += (piece == "(") - (piece == ")")
        if depth == 0:
            return at
    return -1
