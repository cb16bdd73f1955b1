"""Source folders and what they hold now: scanned by request, and polled where the user edits them."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Collection
from pathlib import Path

from builder.bundle import Scanner, Tree
from builder.errors import BuildFailed, SourceNotFound

POLL = 0.2
"""Seconds between two looks at every folder."""
SETTLE = 0.02
"""Seconds for which a folder must not change: a save is often several writes."""


class Trees:
    """Digest of every folder that was asked for."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._scanner = Scanner()
        self._scanning = asyncio.Lock()
        self._digests: dict[str, str | None] = {}

    async def digests(self, folders: Collection[str]) -> dict[str, str]:
        """Digests of *folders* as of the last look; one that is not there is absent, others are forgotten.

        A folder that cannot become a bundle has a digest too: its build says what is wrong.
        """
        for folder in self._digests.keys() - set(folders):
            del self._digests[folder]
        for folder in set(folders) - self._digests.keys():
            self._digests[folder] = await self._look(folder)
        return {folder: digest for folder, digest in self._digests.items() if digest is not None}

    async def scan(self, folder: str) -> Tree:
        """What *folder* holds at this moment; BuildFailed when it cannot become a bundle."""
        async with self._scanning:
            return await asyncio.to_thread(self._scanner.scan, Path(folder))

    async def watch(self) -> None:
        """Look again and again; a folder that takes long to scan is looked at less often."""
        while True:
            began = time.monotonic()
            await self.refresh()
            await asyncio.sleep(max(POLL, 10 * (time.monotonic() - began)))

    async def refresh(self) -> None:
        """Look at every folder now and tell when one has changed."""
        changed = False
        for folder in list(self._digests):
            digest = await self._look(folder)
            while digest != self._digests.get(folder):
                changed = True
                self._digests[folder] = digest
                await asyncio.sleep(SETTLE)
                digest = await self._look(folder)
        if changed:
            self._changed()

    async def _look(self, folder: str) -> str | None:
        try:
            return (await self.scan(folder)).digest
        except SourceNotFound:
            return None
        except (BuildFailed, OSError) as error:
            return f"refused:{hashlib.sha256(str(error).encode()).hexdigest()}"
