"""What a Dapr app's HTTP answers mean; pure.

As in Dapr's runtime, whose JSON reader takes names in any case: a 2xx without a readable status is success, in a bulk
reply an entry that is not named, or has no status, failed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from proxy.outcomes import DONE, MISSING, Outcome, Reply, of_reply, of_status

UNREADABLE = Outcome("unclear", "the reply to a batch holds no statuses")
EMPTY = Outcome("failed", "empty status")


def of_event(status: int, headers: Mapping[bytes, bytes], body: bytes, wall: float) -> Outcome:
    """Answer to the POST of one event. *headers* have lower-case names, *wall* is unix seconds."""
    by_status = of_status(status, headers, wall)
    if by_status is not None:
        return by_status
    said = _members(body).get("status", "")
    return of_reply(Reply(status=said)) if isinstance(said, str) else DONE


def of_batch(
    status: int, headers: Mapping[bytes, bytes], body: bytes, ids: Sequence[str], wall: float
) -> list[Outcome]:
    """Answer to the POST of a bulk message, in the order of *ids*.

    A failure of the whole POST says nothing about which entry caused it: each goes again alone, and only the culprit is
    charged. That the app has no such route is true of all.
    """
    by_status = of_status(status, headers, wall)
    if by_status is not None:
        sure = len(ids) == 1 or by_status.kind == "unroutable"
        return [by_status if sure else Outcome("unclear", by_status.error)] * len(ids)
    entries = _members(body).get("statuses")
    if not isinstance(entries, list):
        return [UNREADABLE] * len(ids)
    told = [_lower(entry) for entry in entries if isinstance(entry, dict)]
    by_id = {entry.get("entryid"): entry.get("status", "") for entry in told}
    return [_of_entry(by_id.get(one)) for one in ids]


def _of_entry(said: object) -> Outcome:
    if said is None:
        return MISSING
    return of_reply(Reply(status=said)) if isinstance(said, str) and said else EMPTY


def _members(body: bytes) -> dict[str, Any]:
    """The members of a JSON object, names in lower case; none where the body is something else."""
    if not body.lstrip().startswith(b"{"):
        return {}
    try:
        return _lower(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}


def _lower(members: dict[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in members.items()}
