"""The life of one event in a window, as one literal table; nothing else may change an event's state."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

State = Literal["waiting", "started", "parked", "unknown", "dead-writing", "done"]

TRANSITIONS: Mapping[State, Mapping[State, str]] = {
    "waiting": {
        "started": "taken into a batch",
        "parked": "taken over while its backoff still runs",
        "dead-writing": "expired, or its attempts were used up before the takeover",
    },
    "started": {
        "done": "the handler succeeded",
        "parked": "the attempt failed and was recorded",
        "waiting": "never started: connection refused, old epoch, no room, or omitted from the reply; uncharged",
        "unknown": "no reply: the replica may still be running it",
        "dead-writing": "rejected by the handler, or the last attempt failed",
    },
    "unknown": {
        "waiting": "the replica confirmed or is gone; it had company, so it goes again alone, uncharged",
        "parked": "the replica confirmed or is gone; it was alone, so the attempt is charged",
        "dead-writing": "as parked, and that was the last attempt",
    },
    "parked": {
        "waiting": "the backoff is over",
        "dead-writing": "expired, or moved to the end of its subject",
    },
    "dead-writing": {"done": "the dead letter is stored, or was already; or the event was moved"},
    "done": {},
}
"""State -> next state -> why. A done event leaves the window when the floor passes it."""


class IllegalTransition(AssertionError):
    """A caller of the window broke the table: a defect of ours, never of the input."""

    def __init__(self, seq: int, old: State, new: State) -> None:
        super().__init__(f"event {seq}: {old} -> {new} is not in the table")
