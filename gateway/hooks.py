"""From a request's path to a webhook; pure, built from the snapshots of all namespaces."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from api.meta import Key
from api.model import Snapshot, Source
from triggers.sources.webhook import default_path


class Hook(msgspec.Struct, frozen=True):
    """One webhook at its path, without a slash at the end."""

    source: Source
    path: str


class Hooks:
    """The longest path that is the request's own, or leads to it, has the request."""

    def __init__(self, snapshots: Iterable[Snapshot] = ()) -> None:
        self._hooks: dict[str, Hook] = {}
        self.lost: dict[Key, Hook] = {}
        """Webhook -> the one that has its path."""
        sources = [one for snapshot in snapshots for one in snapshot.sources if one.kind == "http"]
        for source in sorted(sources, key=lambda one: one.key):
            hook = Hook(source, _path(source))
            held = self._hooks.setdefault(hook.path, hook)
            if held is not hook:
                self.lost[source.key] = held
        self.all = tuple(self._hooks.values())
        self.sources = tuple(sources)

    def find(self, path: str) -> tuple[Hook, str] | None:
        """The webhook of *path*, and what stands below its own; None: there is none."""
        end = len(path)
        while end > 0:
            hook = self._hooks.get(path[:end])
            if hook is not None:
                return hook, path[end + 1 :]
            end = path.rfind("/", 0, end)
        return None


def _path(source: Source) -> str:
    written = source.options.get("path")
    return (written.rstrip("/") if isinstance(written, str) else "") or default_path(source)
