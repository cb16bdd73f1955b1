"""Telling a bus that its bridge stands: from then on the broker in front keeps for it what is published."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

from eventbus.errors import BusError

LOOK_EVERY = 0.1
TELL_EVERY = 20.0
"""Seconds between two calls."""


async def tell(stands: Callable[[], bool], whom: Callable[[], Callable[[], Awaitable[None]] | None]) -> None:
    """Call *whom* once the first subscription stands, and again while it does; ends where nobody is to be told."""
    while (told := whom()) is not None:
        wait = LOOK_EVERY
        if stands():
            with contextlib.suppress(BusError):
                await told()
                wait = TELL_EVERY
        await asyncio.sleep(wait)
