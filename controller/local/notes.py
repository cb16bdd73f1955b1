"""What stands in RUN/r beside each other for every replica: its socket, and a note of what it runs."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from pathlib import Path

import msgspec

from api.meta import RevisionKey


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """What the next controller has to know of a replica."""

    revision: RevisionKey
    since: datetime
    port: int = 0
    """Of a program."""


class Notes:
    """The files of one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def socket(self, replica: str) -> Path:
        return self._folder / f"{replica}.sock"

    def write(self, replica: str, note: Note) -> None:
        self._note(replica).write_bytes(msgspec.json.encode(note))

    def read(self, replica: str) -> Note:
        """Raises OSError where there is none and ValueError where it does not hold."""
        return msgspec.json.decode(self._note(replica).read_bytes(), type=Note)

    def remove(self, replica: str) -> None:
        self._note(replica).unlink(missing_ok=True)
        self.socket(replica).unlink(missing_ok=True)

    def others(self, replicas: Collection[str]) -> set[str]:
        """Names of replicas besides *replicas* that have left something here."""
        return {path.stem for path in self._folder.iterdir()} - set(replicas)

    def _note(self, replica: str) -> Path:
        return self._folder / f"{replica}.json"
