"""Conditions that need several inputs at once: ``a && b``, ``!a``, ``a && b.data.x < 2``.

What must hold of one event becomes the condition of its input's subscription (``b``: ``event.data.x < 2``); what is
left is over names alone (``a && b``), and a Join evaluates it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import TypeAlias

import msgspec

from api.errors import InvalidInput, Problem
from controller.readers import pieces
from controller.readers.conditions import NeedsCorrelation, alternatives, both, either
from controller.readers.pieces import Pieces
from triggers import presence

MAX_DEPTH = 32


class Correlated(msgspec.Struct, frozen=True):
    condition: str
    """Over names of inputs alone."""
    inputs: dict[str, str | None]
    """Input -> condition over its ``event`` (None: every event)."""


class _Leaf(msgspec.Struct, frozen=True):
    name: str
    holds: str
    """What must hold of the event; empty: nothing."""


class _Node(msgspec.Struct, frozen=True):
    sign: str
    """``&&``, ``||`` or ``!``."""
    parts: tuple[_Tree, ...]


_Tree: TypeAlias = _Leaf | _Node


@lru_cache(maxsize=1024)
def correlate(condition: str, inputs: tuple[str, ...]) -> Correlated:
    """Split *condition*; raises InvalidInput (E125, E126). Every plan asks for every trigger's."""
    tree = _tree(pieces.cut(condition), inputs, 0)
    holds: dict[str, str] = {}
    for leaf in _leaves(tree):
        if holds.setdefault(leaf.name, leaf.holds) != leaf.holds:
            raise _refuse(
                f"two different things must hold of `{leaf.name}`: declare its event as an input a second time, under"
                " another name"
            )
    text = _render(tree)
    held = presence.compile_presence(text)
    if held(frozenset()):  # it is about absence: the event that does come is that of any other input
        holds = {**dict.fromkeys(inputs, ""), **holds}
    if len(holds) > presence.MAX_NAMES:
        raise _refuse(f"more than {presence.MAX_NAMES} inputs go together here", "E126")
    if not presence.satisfiable(held, tuple(holds)):
        raise _refuse("it never holds when an event comes")
    return Correlated(text, {name: holds[name] or None for name in inputs if name in holds})


def _tree(given: Pieces, inputs: Collection[str], depth: int) -> _Tree:
    given = pieces.bare(given)
    if depth > MAX_DEPTH:
        raise _refuse(f"the condition is nested deeper than {MAX_DEPTH}", "E126")
    if not given:
        raise _refuse("nothing stands beside an operator")
    leaf = _leaf(given, inputs)
    if leaf is not None:
        return leaf
    for sign in ("||", "&&"):
        parts = pieces.terms(given, sign)
        if len(parts) > 1:
            return _node(sign, [_tree(part, inputs, depth + 1) for part in parts])
    if given[0] == "!":
        return _Node("!", (_tree(given[1:], inputs, depth + 1),))
    text = "".join(given)
    named = pieces.named(given, inputs)
    if len(named) > 1:
        raise _refuse(
            f"`{text[:80]}` compares events of {' and '.join(named)}: let correlation.key name what they share"
        )
    raise _refuse(f"`{text[:80]}` names no input where several go together: write {next(iter(inputs), 'input')}.data.x")


def _leaf(given: Pieces, inputs: Collection[str]) -> _Leaf | None:
    """*given* as one input and what holds of its event; None where it is more than that."""
    try:
        found = alternatives(given, inputs)
    except NeedsCorrelation:
        return None
    names = {name for name, _ in found}
    if len(names) != 1 or None in names:
        return None
    return _Leaf(str(found[0][0]), either(list(dict.fromkeys(text for _, text in found))))


def _node(sign: str, parts: Sequence[_Tree]) -> _Tree:
    """What is said of one input in several parts is said once: of its one event."""
    said: dict[str, list[str]] = {}
    for part in parts:
        if isinstance(part, _Leaf):
            said.setdefault(part.name, []).append(part.holds)
    merge = both if sign == "&&" else either
    leaves: list[_Tree] = [_Leaf(name, merge(list(dict.fromkeys(holds)))) for name, holds in said.items()]
    found = leaves + [part for part in parts if isinstance(part, _Node)]
    return found[0] if len(found) == 1 else _Node(sign, tuple(found))


def _leaves(tree: _Tree) -> Iterator[_Leaf]:
    if isinstance(tree, _Leaf):
        yield tree
        return
    for part in tree.parts:
        yield from _leaves(part)


def _render(tree: _Tree) -> str:
    if isinstance(tree, _Leaf):
        return tree.name
    texts = [
        f"({_render(part)})" if isinstance(part, _Node) and part.sign != "!" else _render(part) for part in tree.parts
    ]
    return f"!{texts[0]}" if tree.sign == "!" else f" {tree.sign} ".join(texts)


def _refuse(message: str, code: str = "E125") -> InvalidInput:
    return InvalidInput([Problem(code=code, message=message)])
