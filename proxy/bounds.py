"""How much one window may hold, and what goes into one batch."""

from __future__ import annotations

CAPACITY = 4096
"""Unfinished events of one window."""
MAX_BYTES = 16 << 20
"""Payload bytes of one window."""
MAX_SPAN = 20_000
"""Sequences above the floor, done ones included: what a broker's progress record can hold."""
KEEP_PARKED = 64 << 10
"""A parked event above this size drops its payload; it is read again before it goes."""
MAX_BODY = 1 << 20
"""Payload bytes of one batch; a single larger event goes alone."""
