"""What `evoke up` does once the platform runs: tell what happens, and apply the folder's YAML whenever it is saved.

One thread reads the platform's happenings; this one looks at the files every LOOK, applies and prints.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.errors import EvokeError
from cli import output, project
from cli.client import Client
from cli.errors import NoPlatform
from cli.narrate import Happening, Narrator
from cli.output import Output

LOOK = 0.2
"""Seconds between two looks at the files."""


class Applied:
    """The folder's YAML as it was applied last."""

    def __init__(self, folder: Path, client: Client, *, prune: bool) -> None:
        self._folder, self._client, self._prune = folder, client, prune

    def apply(self) -> list[dict[str, Any]]:
        """Apply the folder; raises InvalidInput with every problem, and then nothing has changed."""
        from cli import documents  # the types of all kinds: not before a file is read

        found = documents.load_project(self._folder, namespace=self._client.namespace)
        label = project.label(self._folder)
        if not found and not self._prune:
            return []
        return self._client.apply(found, project=label, prune=self._prune)


class Happenings:
    """The platform's stream as a queue; reads on through restarts of the controller."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._queue: queue.Queue[Happening] = queue.Queue()
        threading.Thread(target=self._read, daemon=True, name="happenings").start()

    def take(self, wait: float) -> list[Happening]:
        """What has happened; waits up to *wait* seconds for the first."""
        try:
            found = [self._queue.get(timeout=wait)]
        except queue.Empty:
            return []
        while not self._queue.empty():
            found.append(self._queue.get_nowait())
        return found

    def _read(self) -> None:
        while True:
            try:
                for happening in self._client.watch(logs=True):
                    self._queue.put(happening)
            except EvokeError:
                pass  # it starts, or is being restarted
            time.sleep(LOOK)


def follow(
    out: Output,
    narrator: Narrator,
    happenings: Happenings,
    *,
    folder: Path,
    applied: Applied | None,
    running: Callable[[], bool],
) -> None:
    """Tell and re-apply until *running* answers False; *applied* None: never look at the files."""
    before = project.stamps(folder) if applied else {}
    pending: project.Stamps | None = None
    looked = time.monotonic()
    while running():
        for happening in happenings.take(LOOK / 2):
            tell(out, narrator, happening)
        now = time.monotonic()
        for line in narrator.overdue(now):
            out.item({"message": line}, line)
        if applied is None or now - looked < LOOK:
            continue
        looked, seen = now, project.stamps(folder)
        if seen != before and seen == pending:  # the same at two looks: whoever saves has finished
            if any(path.suffix in project.YAML for path in project.change(before, seen).files):
                reapply(out, applied)
            before, pending = seen, None
        else:
            pending = seen if seen != before else None


def tell(out: Output, narrator: Narrator, happening: Happening) -> None:
    for line in narrator.tell(happening, time.monotonic()):
        if not out.structured:
            out.item(None, line)
    if out.structured:
        out.item(dict(happening), "")


def reapply(out: Output, applied: Applied) -> None:
    """Apply after a save; a mistake is told once and what is there stays as it is."""
    try:
        for one in applied.apply():
            if one["outcome"] == "pruned":
                out.talk(f"{one['kind'].lower()}/{one['name']} removed")
    except NoPlatform:
        return  # stopping, or restarted: the next save counts
    except EvokeError as error:
        for line in output.error_lines(error):
            out.talk(f"error: {line}")
        out.talk("nothing was changed; save again when it is fixed")
