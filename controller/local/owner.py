"""Who decides what a change of a replica means."""

from __future__ import annotations

from typing import Protocol

from api.meta import RevisionKey
from controller.local.forks import Running
from controller.local.revisions import Record


class Owner(Protocol):
    """Hears of every change."""

    def replica_listens(self, replica: Running) -> None:
        """Its socket takes requests, which wait there until it serves."""
        ...

    def replica_ready(self, replica: Running) -> None:
        """It serves."""
        ...

    def replica_gone(self, replica: Running) -> None:
        """A process that had been ready ended; *reason* says how."""
        ...

    def replica_judged(self, replica: Running) -> None:
        """It became unwell, or well again."""
        ...

    def adopts(self, revision: RevisionKey) -> Record | None:
        """The revision of a replica that is found running; None: it may not stay."""
        ...
