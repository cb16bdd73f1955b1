"""CloudEvents filters as the neutral model has them, and what of filters and conditions does not compile; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import msgspec

from api.errors import InvalidInput, Problem
from api.kinds.events import EventFilter
from api.model import Filter
from triggers import filters


def read_filter(given: EventFilter | None) -> Filter | None:
    """The dialect and its argument as deterministic JSON."""
    if given is None:
        return None
    ((dialect, argument),) = _dialect(given).items()
    return Filter(dialect=dialect, argument=msgspec.json.encode(argument, order="deterministic").decode())  # type: ignore[arg-type] # the fields of EventFilter are the literals of Filter.dialect


def _dialect(given: EventFilter) -> dict[str, Any]:
    """``{dialect: argument}``, nested filters alike."""
    for field in msgspec.structs.fields(given):
        value = getattr(given, field.name)
        if isinstance(value, EventFilter):
            return {field.encode_name: _dialect(value)}
        if isinstance(value, tuple):
            return {field.encode_name: [_dialect(inner) for inner in value]}
        if value is not None:
            return {field.encode_name: value}
    return {"all": []}  # decode refuses a filter without dialect; compile refuses this one too


def uncompilable(given: Filter | None, condition: str | None, path: str) -> Iterator[Problem]:
    """Each defect of the filter or condition that stands at *path*."""
    return placed(_defects(given, condition), path)


@lru_cache(maxsize=4096)
def _defects(given: Filter | None, condition: str | None) -> tuple[Problem, ...]:
    """Every plan reads every trigger, and few of them change."""
    try:
        filters.compile(given, condition)
    except InvalidInput as error:
        return error.problems
    return ()


def placed(problems: Sequence[Problem], path: str) -> Iterator[Problem]:
    """*problems*, which know no paths, at *path*."""
    for problem in problems:
        yield msgspec.structs.replace(problem, path=path)
