"""Keeps an owner that has been replaced from running events a second time."""

from __future__ import annotations


class Fence:
    """The highest epoch seen of each trigger: an owner of a lower one has been replaced."""

    def __init__(self) -> None:
        self._highest: dict[bytes, int] = {}

    def refuses(self, headers: dict[bytes, bytes]) -> int | None:
        """Highest epoch if this request's is below it, else None."""
        raw = headers.get(b"evoke-epoch")
        if raw is None:
            return None
        try:
            epoch = int(raw)
        except ValueError:
            return None
        trigger = headers.get(b"evoke-trigger", b"")
        highest = self._highest.get(trigger, epoch)
        if epoch < highest:
            return highest
        self._highest[trigger] = epoch
        return None
