"""Errors of the command line; what a person reads is ``error: CODE message; hint``.

EvokeError
├── Usage             E161-E169: what was typed does not hold (exit 2)
├── MissingFile       E160: a file named on the command line cannot be read (exit 1)
├── Unavailable
│   ├── NoPlatform    E191: no platform belongs to this folder, or it does not run
│   └── NotYet        E199: it is on the list and not in this release
└── Failed            E195: the platform answered, and the answer is no
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from pathlib import Path

from api.errors import EvokeError, Unavailable


class Usage(EvokeError):
    """What was typed does not hold."""

    def __init__(self, message: str, *, code: str = "E162", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


class MissingFile(EvokeError):
    """A file named on the command line cannot be read."""

    def __init__(self, path: str | Path, cause: OSError | None = None) -> None:
        reason = (cause.strerror or "cannot be read") if cause else "does not exist"
        super().__init__(f"{path}: {reason[:1].lower()}{reason[1:]}", code="E160", hint="check the path")


class NoPlatform(Unavailable):
    """No platform belongs to this folder, or it does not run."""

    def __init__(self, message: str, *, hint: str = "start it with `evoke up`") -> None:
        super().__init__(message, code="E191", hint=hint)


class NotYet(Unavailable):
    """It is on the list and not in this release."""

    def __init__(self, what: str, *, hint: str = "") -> None:
        super().__init__(f"{what} is not in this release", code="E199", hint=hint)


class Failed(EvokeError):
    """The platform answered, and the answer is no."""

    def __init__(self, message: str, *, code: str = "E195", hint: str = "") -> None:
        super().__init__(message, code=code, hint=hint)


def did_you_mean(word: str, known: Iterable[str], *, otherwise: str = "") -> str:
    """``did you mean 'up'?`` for the nearest of *known*, else *otherwise*."""
    near = get_close_matches(word.lower(), list(known), n=1, cutoff=0.6)
    return f"did you mean '{near[0]}'?" if near else otherwise
