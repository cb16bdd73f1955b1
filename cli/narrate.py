"""Happenings as the lines of `evoke up`; pure, except that it remembers what belongs on one line.

A start is told once, when it is done: ``on-reading  0 -> 1  event waiting, lag 1        ready in 9 ms``. Replicas that
a new revision takes over from the one before are no scaling of the function and are not told.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from cli.output import one_line

RESOURCE = 24
"""Width of the column with the resource; two blanks follow a longer one."""
WORD = 9
"""Width of the word behind it: ready, problem, removed."""
MESSAGE = 36
"""Width of a message that something follows."""
PATIENCE = 2.0
"""Seconds that a scaling line waits for its replica; then it is told without."""
TAKEOVER = 60.0
"""Seconds in which the first start of a new revision counts as taking over from the one before."""
CHECK = "check-"
"""How the names of replicas begin that only try whether a revision loads."""

Happening = Mapping[str, Any]


def resource_line(resource: str, word: str, message: str = "") -> str:
    """``function/on-reading     ready    revision 00002``"""
    return f"{resource:<{RESOURCE - 2}}  {word:<{WORD}}{one_line(message) if message else ''}".rstrip()


def function_line(function: str, message: str, after: str = "") -> str:
    """``on-reading  kitchen is hot: 32                  (attempt 4)``"""
    return f"{function}  {message:<{MESSAGE}}{after}".rstrip() if after else f"{function}  {message}".rstrip()


class Replicas:
    """Replica counts of one function's revisions, as far as they were told."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._newest = ""
        self._heir_until = 0.0
        """Until then a start of the newest revision takes over from an older one."""

    def revision_ready(self, revision: str, now: float) -> None:
        """*revision* gets the work from now on."""
        if revision > self._newest:
            if any(self._counts.values()):
                self._heir_until = now + TAKEOVER
            self._newest = revision

    def takes_over(self, revision: str, before: int, after: int, now: float) -> bool:
        """Note a change of one revision; True when it only passes replicas on to a newer one."""
        self._counts[revision] = after
        if revision < self._newest:
            return after < before
        if after > before == 0 and now < self._heir_until:
            self._heir_until = 0.0
            return True
        return False


class Narrator:
    """Turns happenings into lines; *now* is any monotonic time in seconds."""

    def __init__(self) -> None:
        self._starting: dict[tuple[str, str], tuple[float, str]] = {}
        """(function, revision) -> when its growth was decided, and the line that waits for the replica."""
        self._said: dict[str, str] = {}
        """Resource -> the last line about its state, so that none is said twice."""
        self._replicas: dict[str, Replicas] = {}

    def tell(self, happening: Happening, now: float) -> list[str]:
        """Lines for *happening*; none when nobody needs to know."""
        kind, resource = happening["type"], str(happening["resource"])
        name, message = resource.partition("/")[2], str(happening.get("message") or "")
        if kind in {"ready", "problem", "removed"}:
            return self._state(resource, kind, message, now)
        if kind == "log":
            return log_lines(name, happening.get("data") or {}, message)
        if kind == "scaled":
            return self._scaled(name, message, facts(happening), now)
        if kind == "activation":
            waiting = self._starting.pop((name, str(facts(happening).get("revision", ""))), None)
            return [function_line(name, waiting[1], started(message, facts(happening)))] if waiting else []
        return [function_line(name, one_line(message))] if kind in {"attempt-failed", "dead-letter", "reload"} else []

    def overdue(self, now: float) -> list[str]:
        """Growth whose replica has not come in time."""
        late = [key for key, (at, _) in self._starting.items() if now - at > PATIENCE]
        return [function_line(key[0], self._starting.pop(key)[1], "starting") for key in late]

    def knows(self, resource: str, line: str) -> None:
        """Remember that *line* about *resource* was already said, and with it whatever says less."""
        self._said[resource] = line

    def _state(self, resource: str, kind: str, message: str, now: float) -> list[str]:
        if kind == "ready" and (revision := re.match(r"revision (\d+)", message)):
            self._of(resource.partition("/")[2]).revision_ready(revision[1], now)
        line = resource_line(resource, kind, message)
        if self._said.get(resource, "").startswith(line):
            return []
        self._said[resource] = line
        return [line]

    def _scaled(self, name: str, message: str, data: Mapping[str, Any], now: float) -> list[str]:
        before, after, revision = data.get("from"), data.get("to"), str(data.get("revision", ""))
        if not isinstance(before, int) or not isinstance(after, int):
            return [function_line(name, one_line(message))]
        if self._of(name).takes_over(revision, before, after, now):
            return []
        line = f"{before} -> {after}  {one_line(data.get('because') or '')}"
        if after > before:
            self._starting[name, revision] = (now, line)
            return []
        return [function_line(name, line)]

    def _of(self, function: str) -> Replicas:
        return self._replicas.setdefault(function, Replicas())


def facts(happening: Happening) -> Mapping[str, Any]:
    """What a happening carries."""
    data: Mapping[str, Any] = happening.get("data") or {}
    return data


def started(message: str, data: Mapping[str, Any]) -> str:
    """``ready in 9 ms``"""
    took = data.get("cold_start_ms")
    return f"ready in {took:.0f} ms" if isinstance(took, int | float) else message


def log_lines(name: str, entry: Mapping[str, Any], message: str = "") -> list[str]:
    """One line per line that the function said, the attempt behind the first where it is not the first.

    The framework's report of a failed event is left to the line about the attempt, and what the check of a revision
    says to the line about its problem; `evoke logs` has them all.
    """
    severity = str(entry.get("severity") or "INFO").upper()
    if str(entry.get("replica", "")).startswith(CHECK):
        return []
    if severity == "ERROR" and entry.get("logger") == "functions_framework" and entry.get("event"):
        return []
    said = str(entry.get("message", message)).rstrip("\n").splitlines() or [""]
    marked = f"{severity} " if severity not in {"INFO", "DEFAULT", "DEBUG", "NOTICE"} else ""
    attempt = int(entry.get("attempt") or 1)
    after = f"(attempt {attempt})" if attempt > 1 else ""
    first, *rest = [one_line(line) if line else "" for line in said]
    return [function_line(name, marked + first, after), *(function_line(name, line) for line in rest)]
