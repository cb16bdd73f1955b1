"""A Trigger's condition, split over its inputs: which events a subscriber asks for, and what must hold of them.

``a || b`` over inputs is one subscription each. ``a && event.data.x < 2`` and ``a.data.x < 2`` are a subscription to
``a`` with a condition over ``event``. A condition that names no input holds for all of them. What needs two inputs at
once (``a && b``, ``!a``) needs correlation (readers/correlation.py).
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Sequence
from typing import TypeAlias

from controller.readers import pieces
from controller.readers.pieces import Pieces

MAX_ALTERNATIVES = 64

Alternative: TypeAlias = tuple[str | None, str]
"""Input (None: any) and what must hold of its event (empty: nothing)."""


class NeedsCorrelation(Exception):
    """Two inputs at once, or the absence of one."""


def split(condition: str | None, inputs: Collection[str]) -> dict[str, str | None]:
    """Input -> condition over ``event`` (None: every event); inputs that are not asked for are absent.

    Raises NeedsCorrelation.
    """
    if not (condition or "").strip():
        return dict.fromkeys(inputs)
    found = alternatives(pieces.cut(condition or ""), inputs)
    wanted: dict[str, str | None] = {}
    for name in inputs:
        holds = list(dict.fromkeys(text for asked, text in found if asked in {None, name}))
        if holds:
            wanted[name] = either(holds) or None
    return wanted


def alternatives(given: Pieces, inputs: Collection[str]) -> list[Alternative]:
    """One event satisfies *given* where one of these holds for it; raises NeedsCorrelation."""
    given = pieces.bare(given)
    named = pieces.named(given, inputs)
    if not given:
        return [(None, "()")]  # nothing beside an operator: refused where it is compiled
    if not named:
        return [(None, "".join(given))]
    if len(parts := pieces.terms(given, "||")) > 1:
        return [alternative for part in parts for alternative in alternatives(part, inputs)]
    if len(parts := pieces.terms(given, "&&")) > 1:
        return _both([alternatives(part, inputs) for part in parts])
    if list(given) == named:
        return [(named[0], "")]
    if len(named) > 1 or (given[0] == "!" and pieces.whole(given, inputs)):
        raise NeedsCorrelation
    words = ("event" if pieces.is_input(given, at, inputs) else piece for at, piece in enumerate(given))
    return [(named[0], "".join(words))]


def _both(parts: Sequence[Sequence[Alternative]]) -> list[Alternative]:
    found: list[Alternative] = []
    for number, choice in enumerate(itertools.product(*parts)):
        named = {name for name, _ in choice if name is not None}
        if len(named) > 1 or number >= MAX_ALTERNATIVES:
            raise NeedsCorrelation
        found.append((next(iter(named), None), both([text for _, text in choice])))
    return found


def both(holds: Sequence[str]) -> str:
    """All of *holds* together; empty ones hold always."""
    texts = list(dict.fromkeys(text for text in holds if text))
    return " && ".join(f"({text})" if pieces.loose(text) else text for text in texts)


def either(holds: Sequence[str]) -> str:
    """One of *holds*; an empty one holds always."""
    if "" in holds:
        return ""
    return holds[0] if len(holds) == 1 else " || ".join(f"({text})" for text in holds)
