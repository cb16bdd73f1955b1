"""Macros of conditions over lists and maps: ``data.tags.exists(tag, tag == 'low')``; as in CEL.

The variable stands in a cell that the macro fills for each item: an evaluation neither waits nor calls itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from triggers.evaluation import UNSET, Truth, Value

MAX_STEPS = 10_000
"""Items that one evaluation looks at in all: macros stand inside macros, and events choose how long lists are."""


class Exhausted(Exception):
    """The evaluation looked at too many items."""


class Budget:
    """Items that this evaluation may still look at."""

    def __init__(self) -> None:
        self.left = MAX_STEPS

    def spend(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise Exhausted

    def around(self, told: Callable[[Any], Truth]) -> Callable[[Any], Truth]:
        """*told* with the whole budget for each event; what takes more cannot be told."""

        def limited(record: Any) -> Truth:
            self.left = MAX_STEPS
            try:
                return told(record)
            except Exhausted:
                return None

        return limited


class Variable:
    """One variable of one macro."""

    def __init__(self) -> None:
        self.value: Any = UNSET

    def read(self, _record: Any) -> Any:
        return self.value


Answers: TypeAlias = Iterable[tuple[Any, Any]]
"""Each item with what the macro's condition says of it."""


def macro(name: str, items: Value, variable: Variable, test: Value, made: Value | None, budget: Budget) -> Value:
    """One of MACROS over *items*; *made* is what ``map`` makes of those for which *test* holds."""
    gather = MACROS[name]

    def answers(found: Iterable[Any], record: Any) -> Answers:
        for one in found:
            budget.spend()
            variable.value = one
            told = test(record)
            yield (one if made is None or told is not True else made(record)), told

    def over(record: Any) -> Any:
        found = items(record)
        if not isinstance(found, list | dict):
            return UNSET
        before = variable.value
        try:
            return gather(answers(found, record))
        finally:
            variable.value = before

    return over


def _exists(answers: Answers) -> Any:
    return _fold(answers, decides=True)


def _all(answers: Answers) -> Any:
    return _fold(answers, decides=False)


def _fold(answers: Answers, *, decides: bool) -> Any:
    found: Any = not decides
    for _, told in answers:
        if told is decides:
            return decides
        if told is not (not decides):
            found = UNSET
    return found


def _exists_one(answers: Answers) -> Any:
    kept = _filter(answers)
    return kept if kept is UNSET else len(kept) == 1


def _filter(answers: Answers) -> Any:
    kept = []
    for one, told in answers:
        if told is True:
            kept.append(one)
        elif told is not False:
            return UNSET
    return UNSET if any(one is UNSET for one in kept) else kept


MACROS: Mapping[str, Callable[[Answers], Any]] = {
    "all": _all,
    "exists": _exists,
    "exists_one": _exists_one,
    "filter": _filter,
    "map": _filter,
}
