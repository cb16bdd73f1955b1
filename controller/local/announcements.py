"""Statuses that changed, as happenings: what a person who watches wants to be told once."""

from __future__ import annotations

from collections.abc import Sequence

from api.actions import Status
from api.conditions import Condition
from api.happenings import HappeningType
from controller.local.feed import Feed

_TYPES: dict[str, HappeningType] = {"True": "ready", "False": "problem", "Unknown": "changed"}


class Announcements:
    """Posts a happening when a resource's Ready, or its newest revision, says something new."""

    def __init__(self, feed: Feed) -> None:
        self._feed = feed
        self._said: dict[tuple[str, str], tuple[str, str]] = {}

    def tell(self, statuses: Sequence[Status]) -> None:
        """Take statuses as the store wrote them."""
        for status in statuses:
            ready = next((one for one in status.conditions if one.type == "Ready"), None)
            if ready is None:
                continue
            name, said = (status.kind, str(status.key)), (ready.status, _message(status, ready))
            if self._said.get(name) != said:
                self._said[name] = said
                self._feed.post(status.key, _TYPES[ready.status], said[1], kind=status.kind.lower())


def _message(status: Status, ready: Condition) -> str:
    if ready.status != "True":
        return ": ".join(part for part in (ready.reason, ready.message) if part)
    if status.kind == "Function":
        names = [str(one.get("name", "")) for one in status.fields.get("revisions") or () if isinstance(one, dict)]
        return f"revision {max(names).rpartition('-')[2]}" if names else ""
    return ready.message
