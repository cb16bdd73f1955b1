"""Which revisions get a function's requests and events: weights to backends; pure.

A revision gets traffic only after it was ready once; until then the last good one keeps it, and its share of a split
goes to the latest ready one.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.actions import RevisionState
from api.model import Backend
from controller.readers.model import TrafficShare


def latest_ready(known: Sequence[RevisionState]) -> RevisionState | None:
    """The newest of *known* (oldest first) that was ready once."""
    return next((state for state in reversed(known) if state.checked), None)


def backends(shares: Sequence[TrafficShare], known: Sequence[RevisionState]) -> tuple[Backend, ...]:
    """Backends for *shares* over a function's revisions, oldest first; empty while none was ever ready."""
    latest = latest_ready(known)
    if latest is None:
        return ()
    ready = {state.key.revision: state.key for state in known if state.checked}
    weights: dict[tuple[str, str | None], int] = {}
    for share in shares:
        named = share.revision.rpartition("-")[2]  # ``00003``, or as `describe` shows it, ``function-00003``
        revision = named if named in ready else latest.key.revision
        tag = share.tag if named in ready or not named else None
        weights[revision, tag] = weights.get((revision, tag), 0) + share.weight
    if not any(weights.values()):
        weights[latest.key.revision, None] = 100
    ordered = sorted(weights.items(), key=lambda item: (item[0][0], item[0][1] or ""))
    return tuple(
        Backend(revision=ready[revision], weight=weight, tag=tag)
        for (revision, tag), weight in ordered
        if weight or tag
    )
