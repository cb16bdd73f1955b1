"""When those look again who look again and again: not all at the same moment, and not each at one of his own; pure."""

from __future__ import annotations

import math

GRAIN = 0.05
"""Seconds between two moments; whoever wakes at the same one shares what is written to and read from a connection."""


def pause(now: float, length: float, share: float) -> float:
    """Seconds from *now* until the first moment after about *length*; *share* of it is added, by a draw of one's own.

    Hundreds that began together drift apart by that, so that a neighbour waits for a few of them and never for all.
    """
    return math.ceil((now + length * (1 + share)) / GRAIN) * GRAIN - now
