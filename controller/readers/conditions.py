"""A Trigger's condition, split over its inputs: which events a subscriber asks for, and what must hold of them.

``a || b`` over inputs is one subscription each. ``a && event.data.x < 2`` and ``a.data.x < 2`` are a subscription to
``a`` with a condition over ``event``. A condition that names no input holds for all of them. What needs two inputs at
once (``a && b``, ``!a``) needs correlation.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Sequence
from typing import TypeAlias

MAX_ALTERNATIVES = 64

Alternative: TypeAlias = tuple[str | None, str]
"""Input (None: any) and what must hold of its event (empty: nothing)."""

_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|\|\||&&|[A-Za-z_][\w-]*|\s+|.', re.ASCII | re.DOTALL)


class NeedsCorrelation(Exception):
    """Two inputs at once, or the absence of one."""


def split(condition: str | None, inputs: Collection[str]) -> dict[str, str | None]:
    """Input -> condition over ``event`` (None: every event); inputs that are not asked for are absent.

    Raises NeedsCorrelation.
    """
    if not (condition or "").strip():
        return dict.fromkeys(inputs)
    found = _alternatives(_PIECE.findall(condition or ""), inputs)
    wanted: dict[str, str | None] = {}
    for name in inputs:
        holds = list(dict.fromkeys(text for asked, text in found if asked in {None, name}))
        if holds:
            wanted[name] = None if "" in holds else _either(holds)
    return wanted


def _alternatives(pieces: Sequence[str], inputs: Collection[str]) -> list[Alternative]:
    pieces = _bare(pieces)
    named = _named(pieces, inputs)
    if not pieces:
        return [(None, "()")]  # nothing beside an operator: refused where it is compiled
    if not named:
        return [(None, "".join(pieces))]
    if len(parts := _split(pieces, "||")) > 1:
        return [alternative for part in parts for alternative in _alternatives(part, inputs)]
    if len(parts := _split(pieces, "&&")) > 1:
        return _both([_alternatives(part, inputs) for part in parts])
    if list(pieces) == named:
        return [(named[0], "")]
    if len(named) > 1 or (pieces[0] == "!" and _whole(pieces, inputs)):
        raise NeedsCorrelation
    return [(named[0], "".join("event" if _is_input(pieces, at, inputs) else piece for at, piece in enumerate(pieces)))]


def _both(parts: Sequence[Sequence[Alternative]]) -> list[Alternative]:
    found: list[Alternative] = []
    for number, choice in enumerate(itertools.product(*parts)):
        named = {name for name, _ in choice if name is not None}
        if len(named) > 1 or number >= MAX_ALTERNATIVES:
            raise NeedsCorrelation
        holds = [text if len(_split(_PIECE.findall(text), "||")) == 1 else f"({text})" for _, text in choice if text]
        found.append((next(iter(named), None), " && ".join(holds)))
    return found


def _either(holds: Sequence[str]) -> str:
    return holds[0] if len(holds) == 1 else " || ".join(f"({text})" for text in holds)


def _named(pieces: Sequence[str], inputs: Collection[str]) -> list[str]:
    """Inputs in order of appearance."""
    return list(dict.fromkeys(piece for at, piece in enumerate(pieces) if _is_input(pieces, at, inputs)))


def _is_input(pieces: Sequence[str], at: int, inputs: Collection[str]) -> bool:
    """Whether the word at *at* is an input, rather than a member of a path."""
    return pieces[at] in inputs and (at == 0 or pieces[at - 1] != ".")


def _whole(pieces: Sequence[str], inputs: Collection[str]) -> bool:
    """Whether an input stands for its arrival, not at the beginning of a path."""
    ends = (*pieces[1:], "")
    return any(_is_input(pieces, at, inputs) and ends[at] not in {".", "["} for at in range(len(pieces)))


def _bare(pieces: Sequence[str]) -> Sequence[str]:
    """Without blanks at the ends and parentheses around the whole."""
    while pieces and pieces[0].isspace():
        pieces = pieces[1:]
    while pieces and pieces[-1].isspace():
        pieces = pieces[:-1]
    if len(pieces) > 1 and pieces[0] == "(" and _closing(pieces) == len(pieces) - 1:
        return _bare(pieces[1:-1])
    return pieces


def _closing(pieces: Sequence[str]) -> int:
    """Where the parenthesis that opens *pieces* closes; -1: nowhere."""
    depth = 0
    for at, piece in enumerate(pieces):
        depth += (piece == "(") - (piece == ")")
        if depth == 0:
            return at
    return -1


def _split(pieces: Sequence[str], sign: str) -> list[Sequence[str]]:
    parts, depth, start = [], 0, 0
    for at, piece in enumerate(pieces):
        depth += (piece in {"(", "["}) - (piece in {")", "]"})
        if piece == sign and depth == 0:
            parts.append(pieces[start:at])
            start = at + 1
    return [*parts, pieces[start:]]
