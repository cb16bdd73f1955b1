"""Waiting for the platform to get somewhere: ask again until it is so, and say on a terminal what is missing."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import timedelta

from cli.errors import Failed
from cli.output import Output

PACE = 0.1
QUIET = 1.0
"""Seconds after which a person is told what the wait is for."""


def until(
    reached: Callable[[], bool | str],
    *,
    what: str,
    out: Output,
    timeout: timedelta = timedelta(minutes=2),
) -> None:
    """Return when *reached* answers True; a string it answers is what is still missing. Raises Failed at *timeout*."""
    begun = time.monotonic()
    progress = Progress(out)
    try:
        while True:
            answer = reached()
            if answer is True:
                return
            passed = time.monotonic() - begun
            missing = answer if isinstance(answer, str) else ""
            if passed > timeout.total_seconds():
                said = f": {missing}" if missing else ""
                raise Failed(f"not within {timeout.total_seconds():g} s: {what}{said}", code="E196")
            if passed > QUIET:
                progress.say(f"{what}: {missing or 'waiting'} ({passed:.0f} s)")
            time.sleep(PACE)
    finally:
        progress.clear()


class Progress:
    """One line on a terminal that replaces itself; nothing at all elsewhere."""

    def __init__(self, out: Output) -> None:
        self._on = sys.stderr.isatty() and not out.quiet
        self._width = 0

    def say(self, text: str) -> None:
        if self._on:
            text = text[:100]
            sys.stderr.write(f"\r{text:<{self._width}}")
            sys.stderr.flush()
            self._width = len(text)

    def clear(self) -> None:
        if self._on and self._width:
            sys.stderr.write("\r" + " " * self._width + "\r")
            sys.stderr.flush()
            self._width = 0
