"""Keeps an owner that has been replaced from running events a second time, and tells its successor what still runs."""

from __future__ import annotations

import msgspec

from functions_framework.message import Request


class _Event(msgspec.Struct, frozen=True):
    partitionkey: str = ""


class _Entry(msgspec.Struct, frozen=True):
    event: _Event = _Event()


class _Body(msgspec.Struct, frozen=True):
    """One structured event, or a bulk delivery."""

    partitionkey: str = ""
    entries: list[_Entry] = []


_body = msgspec.json.Decoder(_Body)


class Fence:
    """The highest epoch seen of each trigger: an owner of a lower one has been replaced."""

    def __init__(self) -> None:
        self._highest: dict[bytes, int] = {}
        self._running: dict[bytes, set[Request]] = {}

    def refuses(self, headers: dict[bytes, bytes]) -> int | None:
        """Highest epoch if this request's is below it, else None."""
        epoch = _epoch(headers)
        if epoch is None:
            return None
        trigger = headers.get(b"evoke-trigger", b"")
        highest = self._highest.get(trigger, epoch)
        if epoch < highest:
            return highest
        self._highest[trigger] = epoch
        return None

    def begin(self, request: Request) -> None:
        """*request* runs from now on, where it is a delivery."""
        trigger = request.lookup.get(b"evoke-trigger")
        if trigger is not None:
            self._running.setdefault(trigger, set()).add(request)

    def end(self, request: Request) -> None:
        trigger = request.lookup.get(b"evoke-trigger")
        if trigger is not None:
            self._running[trigger].discard(request)

    def running(self, headers: dict[bytes, bytes]) -> list[str]:
        """Keys of the trigger that *headers* name which run for owners before their epoch."""
        epoch = _epoch(headers) or 0
        found: set[str] = set()
        for request in self._running.get(headers.get(b"evoke-trigger", b""), ()):
            if (_epoch(request.lookup) or 0) < epoch:
                found |= _keys(request.body)
        return sorted(found)


def _epoch(headers: dict[bytes, bytes]) -> int | None:
    try:
        return int(headers[b"evoke-epoch"])
    except (KeyError, ValueError):
        return None


def _keys(body: bytes) -> set[str]:
    try:
        read = _body.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return set()
    return {key for key in (read.partitionkey, *(entry.event.partitionkey for entry in read.entries)) if key}
