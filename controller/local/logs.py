"""Logs of functions: JSON lines in one file per replica, read as one stream in time order.

Files stay after their replica: a function at zero replicas has its logs. What is no JSON line (a print while the
module loads, words of the C library) becomes one.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec

from api import durations
from api.errors import InvalidInput, Problem

POLL = 0.05
"""Seconds between two looks while somebody follows."""
KEPT = 20
"""Log files kept per function."""
LONGEST = 64 << 20
"""Bytes of one file, of which the last ones are kept when it is cut."""
_LAST = 8 << 20
"""Bytes read from the end of each file."""
_WORDS = 64 << 10
"""Bytes in which the last words are looked for."""
_FATAL = re.compile(rb"panic: |fatal error: ", re.ASCII)
"""How Go says why a program ended; what was called where follows it, at length."""
_THROWN = re.compile(rb"(Exception in thread |(Uncaught )?[\w.]*(Error|Exception)\b)", re.ASCII)
"""How node and Java say it, if nothing but a trace follows."""
_TRACE = re.compile(rb"\s|[{}]|Caused by: |Node\.js v", re.ASCII)

_UNTOLD = datetime.min.replace(tzinfo=UTC)


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """Which lines."""

    since: datetime | None = None
    tail: int | None = None
    revision: str = ""
    call: str = ""
    previous: bool = False
    """Only of replicas that are gone."""

    def takes(self, line: dict[str, Any]) -> bool:
        """Whether *line* is asked for."""
        if self.call and line.get("call") != self.call:
            return False
        return self.since is None or moment(line) >= self.since


class Tail:
    """New lines of all log files below a folder, from where the last look ended."""

    def __init__(self, folder: Path, *, from_end: bool) -> None:
        self._folder = folder
        self._offsets: dict[Path, int] = {}
        if from_end:
            self._offsets = {path: _size(path) for path in self._files()}

    def poll(self) -> list[dict[str, Any]]:
        """Complete lines that came since, in time order; each has ``namespace`` and ``function``."""
        found = [line for path in self._files() for line in self._new(path)]
        return sorted(found, key=_time)

    def _files(self) -> Iterable[Path]:
        return self._folder.rglob("*.log")

    def _new(self, path: Path) -> Iterable[dict[str, Any]]:
        offset, size = self._offsets.get(path, 0), _size(path)
        if size < offset:  # trimmed
            offset = self._offsets[path] = 0
        if size == offset:
            return
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(_LAST)
        complete = data.rfind(b"\n") + 1
        self._offsets[path] = offset + complete
        yield from _lines(path, data[:complete])


def read(folder: Path, query: Query, living: frozenset[str] = frozenset()) -> list[dict[str, Any]]:
    """Lines of one function so far; *living* are ids of its replicas that run."""
    below = folder / query.revision if query.revision else folder
    lines: list[dict[str, Any]] = []
    for path in below.rglob("*.log"):
        if query.previous and path.stem in living:
            continue
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - _LAST))
            lines += [line for line in _lines(path, file.read()) if query.takes(line)]
    lines.sort(key=_time)
    return lines if query.tail is None else lines[len(lines) - min(query.tail, len(lines)) :]


async def follow(folder: Path, query: Query, *, past: Callable[[], list[dict[str, Any]]]) -> AsyncIterator[Any]:
    """The past, then every line as it comes, over replicas and revisions; never ends by itself."""
    tail = Tail(folder / query.revision if query.revision else folder, from_end=True)
    for line in past():
        yield line
    while True:
        for line in tail.poll():
            if query.takes(line):
                yield line
        await asyncio.sleep(POLL)


def last_words(path: Path, lines: int = 3) -> str:
    """The last *lines* of a file on one line, as messages; empty where there are none.

    Where they are the end of a long trace, the lines that it begins with.
    """
    try:
        with path.open("rb") as file:
            file.seek(max(0, _size(path) - _WORDS))
            found = [raw for raw in file.read().split(b"\n") if raw.strip()]
    except FileNotFoundError:
        return ""
    begin = min(_cause(found), max(0, len(found) - lines))
    messages = [
        str((_decode(raw) or {}).get("message") or raw.decode(errors="replace")).strip()
        for raw in found[begin : begin + lines]
    ]
    return " | ".join(messages)[-500:]


def _cause(found: Sequence[bytes]) -> int:
    """Which line begins the trace that *found* ends with; their number where none does."""
    trace = True
    for place in range(len(found) - 1, -1, -1):
        if _FATAL.match(found[place]) or (trace and _THROWN.match(found[place])):
            return place
        trace = trace and _TRACE.match(found[place]) is not None
    return len(found)


def plain(path: Path) -> list[dict[str, Any]]:
    """A text file as log lines."""
    if not path.is_file():
        return []
    stamp = _modified(path)
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return [{"time": stamp, "severity": "INFO", "message": line} for line in lines]


def prune(folder: Path, living: frozenset[str] = frozenset()) -> None:
    """Remove files of one function's replicas that are gone: all but the newest, and those that hold nothing."""
    gone = [(path.stat(), path) for path in folder.rglob("*.log") if path.stem not in living]
    gone.sort(key=lambda one: one[0].st_mtime_ns, reverse=True)
    for place, (state, path) in enumerate(gone):
        if place >= KEPT or not state.st_size:
            path.unlink(missing_ok=True)


def trim(folder: Path) -> None:
    """Cut every file that has grown too long; its writer appends, so it goes on at the new end."""
    for path in folder.rglob("*.log"):
        if _size(path) > LONGEST:
            with path.open("rb+") as file:
                file.seek(-_LAST, 2)
                kept = file.read(_LAST).partition(b"\n")[2]
                file.truncate(0)
                path.with_name(f"{path.stem}-before.log").write_bytes(kept)


def moment(line: dict[str, Any]) -> datetime:
    """When a line was written; the beginning of time if it does not say."""
    try:
        found = datetime.fromisoformat(str(line.get("time")))
    except ValueError:
        return _UNTOLD
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def parse_since(text: str, now: datetime) -> datetime | None:
    """``10m`` or a time in ISO 8601; None when empty."""
    if not text:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return now - _duration(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _duration(text: str) -> timedelta:
    try:
        return durations.parse(text)
    except ValueError as error:
        raise InvalidInput([Problem(code="E113", path="since", message=str(error))]) from None


def _lines(path: Path, data: bytes) -> Iterable[dict[str, Any]]:
    namespace, function, revision = path.parts[-4], path.parts[-3], path.parts[-2]
    where = {"namespace": namespace, "function": function, "revision": revision, "replica": path.stem}
    stamp = ""
    for raw in data.split(b"\n"):
        if not raw.strip():
            continue
        line = _decode(raw)
        if line is None:
            stamp = stamp or _modified(path)
            line = {"time": stamp, "severity": "INFO", "message": raw.decode(errors="replace")}
        if moment(line) == _UNTOLD:  # other loggers tell time otherwise
            line["time"] = stamp = stamp or _modified(path)
        stamp = str(line["time"])
        yield {**where, **line}


def _decode(raw: bytes) -> dict[str, Any] | None:
    if not raw.startswith(b"{"):
        return None
    try:
        found: dict[str, Any] = msgspec.json.decode(raw, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return found if "message" in found else None


def _time(line: dict[str, Any]) -> datetime:
    return moment(line)


def _modified(path: Path) -> str:
    return datetime.fromtimestamp(path.stat().st_mtime, UTC).isoformat()


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
