"""Errors for people: a stable code, the place, what was expected, how to fix it.

EvokeError
├── InvalidInput      one or many Problems in what the user wrote (exit 2, HTTP 422)
├── NotFound          a named thing is not there (exit 1, HTTP 404)
└── Unavailable       something is not running or not reachable (exit 1, HTTP 503)
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """One defect of the user's input; printed as one line."""

    code: str
    """``E110`` and the like; the reference page of error codes lists them all."""
    message: str
    """What is wrong, what was expected, how to fix it."""
    path: str = ""
    """Field path such as ``spec.serving.triggers.http.port``."""
    file: str = ""
    line: int = 0
    """1-based; 0 when the place is not known."""

    def __str__(self) -> str:
        place = ":".join(part for part in (self.file, str(self.line) if self.line else "") if part)
        return " ".join(
            part
            for part in (f"{place}:" if place else "", self.code, self.path and f"{self.path}:", self.message)
            if part
        )


class EvokeError(Exception):
    """Base of all errors that a person sees; *hint* says what to do next."""

    def __init__(self, message: str, *, code: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message, self.code, self.hint = message, code, hint

    def __str__(self) -> str:
        text = f"{self.code} {self.message}" if self.code else self.message
        return f"{text}; {self.hint}" if self.hint else text


class InvalidInput(EvokeError):
    """What the user wrote does not hold; carries every problem found, never only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


class NotFound(EvokeError):
    """A named thing is not there."""


class Unavailable(EvokeError):
    """Something is not running or cannot be reached."""
