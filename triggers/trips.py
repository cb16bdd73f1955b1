"""When a circuit breaker of a Resiliency opens: CEL over what it counted, compiled to a closure.

Source: the counts of github.com/sony/gobreaker, which Dapr gives to the expression by these names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from api.errors import InvalidInput, Problem
from triggers.expressions import compile_expression

COUNTS = ("requests", "totalSuccesses", "totalFailures", "consecutiveSuccesses", "consecutiveFailures")

_WORD = re.compile(r"[A-Za-z_]\w*", re.ASCII)
_CALLS = {"int", "uint", "double", "true", "false"}


def compile_trip(text: str) -> Callable[[Mapping[str, int]], bool]:
    """*text* over counts by name; raises InvalidInput (E125, E126)."""
    for word in _WORD.findall(text):
        if word not in COUNTS and word not in _CALLS:
            message = f"`{word[:40]}` is not counted; there is {', '.join(COUNTS)}"
            raise InvalidInput([Problem(code="E125", message=message)])
    told = compile_expression(_WORD.sub(_member, text), _count)
    return lambda counts: told(counts) is True


def _member(word: re.Match[str]) -> str:
    """Names of a condition stand below ``event``."""
    return f"event.{word[0]}" if word[0] in COUNTS else word[0]


def _count(name: str) -> Callable[[Any], Any]:
    return lambda counts: counts[name]
