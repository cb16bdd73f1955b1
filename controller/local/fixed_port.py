"""Apps that listen at a port of their own choice: one replica at a time has it, of the newest revision that needs it;
pure."""

from __future__ import annotations

from collections.abc import Iterable

from api.model import Workload
from controller.local.revisions import Record


def of(workload: Workload) -> int:
    """The port that the app insists on; 0: it listens where it is told, or at a socket of ours."""
    return workload.port if workload.host == "command" else 0


def wanted(record: Record) -> int:
    """How many replicas can run of what is wanted."""
    return min(record.wanted, 1) if of(record.workload) else record.wanted


def rivals(record: Record, records: Iterable[Record]) -> tuple[Record, ...]:
    """Other revisions that need the same port, of this function or another; the newest first."""
    port = of(record.workload)
    found = [one for one in records if port and of(one.workload) == port and one.key != record.key]
    return tuple(sorted(found, key=lambda one: one.key, reverse=True))


def yields(holder: Record, record: Record) -> bool:
    """Whether a replica of *holder* makes room for one of *record*."""
    return holder.key.function_key == record.key.function_key and holder.key < record.key
